"""
Model 1: one letter in, the next letter out
===========================================

The plainest framing: windows of one letter, 25 patterns from `A -> B` to `Y -> Z`. The LSTM sees
one letter at a time, so it has no sequence to remember. It learns a table of 25 pairs, with
mistakes.
"""

# %%
# Cut the alphabet into windows of one letter. The frames hold letters as the numbers 0 to 25.
import keras
import numpy as np

from seqframe import SequenceFramer, fit

keras.utils.set_random_seed(7)
alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
frames = SequenceFramer(1).frame(alphabet)
frames.describe(len(frames))

# %%
# The model scales its input itself, so it always takes letters as they are.
model = keras.Sequential(
    [
        keras.Input(frames.x_shape),
        keras.layers.Rescaling(1 / len(alphabet)),
        keras.layers.LSTM(32),
        keras.layers.Dense(len(alphabet), activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

# %%
# Train for 500 epochs of 25 steps. A compiled program runs many epochs in one call. PyTorch has no
# such program, and runs them one by one.
fit(model, frames, batch_size=1, epochs=500, seed=7, verbose=0)

# %%
# Count how many of the 25 patterns it knows. It gets about 21 of them right.
X, y = frames.arrays()
_, accuracy = model.evaluate(X, y, verbose=0)
print(f"Model Accuracy: {accuracy:.2%}")
for x, letter in zip(X, np.argmax(model.predict(X, verbose=0), axis=1), strict=True):
    print([*frames.vocabulary.decode(x.ravel())], "->", frames.vocabulary.decode([letter]))

# sphinx_gallery_thumbnail_path = '_build/thumbnails/01.png'
