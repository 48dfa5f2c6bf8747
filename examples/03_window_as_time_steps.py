"""
Model 3: three letters as three time steps
==========================================

The default, `layout="timesteps"`, turns a window of three letters into three time steps with one
feature. The LSTM now reads a sequence, which is what an LSTM is for.
"""

# %%
import keras
import numpy as np

from seqframe import SequenceFramer, fit

keras.utils.set_random_seed(7)
alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
frames = SequenceFramer(3).frame(alphabet)
frames.describe(len(frames))
print("one input:", frames.x_shape)

# %%
# The model and the training are the same as for model 2.
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
# It knows all 23 patterns.
X, y = frames.arrays()
_, accuracy = model.evaluate(X, y, verbose=0)
print(f"Model Accuracy: {accuracy:.2%}")
for x, letter in zip(X, np.argmax(model.predict(X, verbose=0), axis=1), strict=True):
    print([*frames.vocabulary.decode(x.ravel())], "->", frames.vocabulary.decode([letter]))

# sphinx_gallery_thumbnail_path = '_build/thumbnails/03.png'
