"""
Model 6: sequences of any length
================================

A stateless LSTM reads one to five letters, padded on the left to five. So it learns to continue
from any letter, not only from A.
"""

# %%
# Draw a thousand subsequences at random. The draws depend only on the seed.
import keras
import numpy as np

from seqframe import Generator, SequenceFramer, fit

keras.utils.set_random_seed(7)
alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
framer = SequenceFramer(5, mode="subsequences", num_samples=1000, seed=7)
frames = framer.frame(alphabet)
frames.describe(20)

# %%
model = keras.Sequential(
    [
        keras.Input(frames.x_shape),
        keras.layers.Rescaling(1 / len(alphabet)),
        keras.layers.LSTM(32),
        keras.layers.Dense(len(alphabet), activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
fit(model, frames, batch_size=1, epochs=500, seed=7, verbose=0)

# %%
X, y = frames.arrays()
_, accuracy = model.evaluate(X, y, verbose=0)
print(f"Model Accuracy: {accuracy:.2%}")

# %%
# Show 20 patterns of the training set, drawn at random.
chosen = np.random.default_rng(7).integers(0, len(frames), 20)
predicted = np.argmax(model.predict(X[chosen], verbose=0), axis=1)
for i, letter in zip(chosen, predicted, strict=True):
    inputs = alphabet[frames.steps(i).inputs[0] :][: len(frames.steps(i).inputs)]
    print([*inputs], "->", frames.vocabulary.decode([letter]))
print(f"{np.sum(predicted == y[chosen])} of 20 right")

# %%
# Roll out from A: predictions are fed back in, and the window of five letters moves on.
print("Free run from A:", *Generator(model, frames.framer).generate("A", 25))

# sphinx_gallery_thumbnail_path = '_build/thumbnails/06.png'
