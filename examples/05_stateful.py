"""
Model 5: a stateful LSTM reads the alphabet
===========================================

One letter in, one letter out once more, but now the LSTM keeps its state from batch to batch: it
reads the alphabet from A to Z in batches of one letter, and is reset at the end of each epoch.
"""

# %%
from itertools import pairwise

import keras

from seqframe import Generator, SequenceFramer, StatefulTrainer, Vocabulary, fit

keras.utils.set_random_seed(7)
alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
frames = SequenceFramer(1).frame(alphabet)
frames.describe(len(frames))

# %%
# A stateful layer needs to know its batch size: `batch_shape`.
model = keras.Sequential(
    [
        keras.Input(batch_shape=(1, 1, 1)),
        keras.layers.Rescaling(1 / len(alphabet)),
        keras.layers.LSTM(16, stateful=True),
        keras.layers.Dense(len(alphabet), activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

# %%
# `fit` takes the frames in order and resets the state at the beginning and end of each epoch. With
# Keras's own fit, the callback does that: `model.fit(X, y, batch_size=1, shuffle=False,
# callbacks=[StatefulTrainer()])`.
fit(model, frames, epochs=300, verbose=0)

# %%
# All right. `evaluate` begins with a fresh state, thanks to the same callback.
X, y = frames.arrays()
_, accuracy = model.evaluate(X, y, batch_size=1, verbose=0, callbacks=[StatefulTrainer()])
print(f"Model Accuracy: {accuracy:.2%}")

# %%
# Free run: the model reads A with a fresh state, and from then on its own predictions.
generator = Generator(model, frames.framer)
sequence = "A" + generator.generate("A", 25)
for letter, following in pairwise(sequence):
    print([letter], "->", following)

# %%
# From K with a fresh state it recites the alphabet from the beginning: it has never seen K first,
# and counts letters rather than reads them.
print("K, cold:", *generator.generate("K", 5))

# %%
# Once it is warm, with A to J read before, K is what it expects, and it goes on from there.
print("K, warm:", *generator.generate("ABCDEFGHIJK", 5))


# %%
# The stateless equivalent: an LSTM that is given, for each letter, everything before it, padded on
# the left to the full length.
def train_on_prefixes(vocabulary, layers):
    keras.utils.set_random_seed(7)
    framer = SequenceFramer(25, mode="prefixes", vocabulary=vocabulary)
    prefixes = framer.frame(alphabet)
    stateless = keras.Sequential(
        [
            keras.Input(prefixes.x_shape),
            *layers,
            keras.layers.LSTM(16),
            keras.layers.Dense(len(vocabulary), activation="softmax"),
        ]
    )
    stateless.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(stateless, prefixes, batch_size=1, epochs=300, seed=7, verbose=0)
    _, accuracy = stateless.evaluate(*prefixes.arrays(), verbose=0)
    print(f"Accuracy: {accuracy:.2%}, free run from A:", end=" ")
    print(*Generator(stateless, prefixes.framer).generate("A", 25))


# %%
# Padded with zeros, it is not quite that: 0 is also the code of A, so A looks like no letter at
# all.
train_on_prefixes(Vocabulary(alphabet), [keras.layers.Rescaling(1 / 26)])

# %%
# With an id of its own for padding, and a mask that has the LSTM skip it, it is: after n letters it
# has seen just what the stateful model has.
train_on_prefixes(
    Vocabulary(alphabet, reserve_padding=True),
    [keras.layers.Masking(0), keras.layers.Rescaling(1 / 26, offset=-1 / 26)],
)

# sphinx_gallery_thumbnail_path = '_build/thumbnails/05.png'
