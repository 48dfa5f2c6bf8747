"""
Model 2: three letters as three features
========================================

`layout="features"` turns a window of three letters into one time step with three features. The
network sees three letters, but not as a sequence. The LSTM works like a multilayer perceptron.
"""

# %%
# Cut the same alphabet into windows of three letters, one time step each.
import keras
import numpy as np

from seqframe import SequenceFramer, fit

keras.utils.set_random_seed(7)
alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
frames = SequenceFramer(3, layout="features").frame(alphabet)
frames.describe(len(frames))
print("one input:", frames.x_shape)

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
# It knows 19 of 23 patterns. This is no better than with one letter at a time.
X, y = frames.arrays()
_, accuracy = model.evaluate(X, y, verbose=0)
print(f"Model Accuracy: {accuracy:.2%}")
for x, letter in zip(X, np.argmax(model.predict(X, verbose=0), axis=1), strict=True):
    print([*frames.vocabulary.decode(x.ravel())], "->", frames.vocabulary.decode([letter]))

# sphinx_gallery_thumbnail_path = '_build/thumbnails/02.png'
