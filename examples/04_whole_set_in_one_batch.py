"""
Model 4: the whole training set in one batch
============================================

The framing is that of model 1, but a batch holds all 25 patterns in order, for 5,000 epochs. The
model learns them all. The usual explanation is that the LSTM keeps its state from one sample of a
batch to the next. Keras does not do that: the last cells measure it.
"""

# %%
import keras
import numpy as np

from seqframe import SequenceFramer, fit

alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
frames = SequenceFramer(1).frame(alphabet)
frames.describe(len(frames))


def make_model():
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input(frames.x_shape),
            keras.layers.Rescaling(1 / len(alphabet)),
            keras.layers.LSTM(16),
            keras.layers.Dense(len(alphabet), activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


# %%
# Train for 5,000 epochs of one step. `fit` runs many such epochs in one program.
model = make_model()
history = fit(model, frames, batch_size=len(frames), epochs=5000, shuffle=False, verbose=0)

# %%
# It knows all 25 patterns. Show 20 of them, drawn at random.
X, y = frames.arrays()
_, accuracy = model.evaluate(X, y, batch_size=len(X), verbose=0)
print(f"Model Accuracy: {accuracy:.2%}")
chosen = np.random.default_rng(7).integers(0, len(frames), 20)
for x, letter in zip(
    X[chosen], np.argmax(model.predict(X[chosen], verbose=0), axis=1), strict=True
):
    print([*frames.vocabulary.decode(x.ravel())], "->", frames.vocabulary.decode([letter]))

# %%
# Do the rows of a batch see each other? If they did, a prediction would depend on the rows before
# it. So shuffle the rows, predict, and put the predictions back in order.
shuffled = np.random.default_rng(0).permutation(len(X))
alone = model.predict(X, batch_size=len(X), verbose=0)
mixed = np.empty_like(alone)
mixed[shuffled] = model.predict(X[shuffled], batch_size=len(X), verbose=0)
change = np.abs(alone - mixed).max()
print(f"Largest change of a prediction when the rows are shuffled: {change:.1e}")

# %%
# And in training? Train the same model from the same weights, with the rows of each batch shuffled.
# The loss is the same.
other = make_model()
options = dict(batch_size=len(X), epochs=500, shuffle=False, verbose=0)
other_history = fit(other, (X[shuffled], y[shuffled]), **options)
change = np.abs(np.subtract(history.history["loss"][:500], other_history.history["loss"]))
print(f"Largest change of the loss over 500 epochs: {change.max():.1e}")
print("The rows of a batch are independent: 5,000 updates on all of them teach the model.")

# sphinx_gallery_thumbnail_path = '_build/thumbnails/04.png'
