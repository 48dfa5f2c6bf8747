"""
Model 5: a stateful LSTM reads the alphabet
===========================================

The framing is that of model 1, but the LSTM keeps its state from batch to batch. It reads the
alphabet from A to Z in batches of one letter. Its state is reset at the end of each epoch.
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
# A stateful layer must know its batch size, so the input has a `batch_shape`.
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
# `fit` takes the frames in order, and resets the state at the beginning and end of each epoch. For
# Keras's own fit, a callback does that: `model.fit(X, y, batch_size=1, shuffle=False,
# callbacks=[StatefulTrainer()])`.
fit(model, frames, epochs=300, verbose=0)

# %%
# It knows all patterns. The same callback makes `evaluate` begin with a fresh state.
X, y = frames.arrays()
_, accuracy = model.evaluate(X, y, batch_size=1, verbose=0, callbacks=[StatefulTrainer()])
print(f"Model Accuracy: {accuracy:.2%}")

# %%
# Roll out: the model reads A with a fresh state, then its own predictions.
generator = Generator(model, frames.framer)
sequence = "A" + generator.generate("A", 25)
for letter, following in pairwise(sequence):
    print([letter], "->", following)

# %%
# With a fresh state, it goes on from K as if K were A. In training it never saw K first, so it
# counts letters and does not read them.
print("K, cold:", *generator.generate("K", 5))

# %%
# After a warm-up from A to J, it expects K and goes on from there.
print("K, warm:", *generator.generate("ABCDEFGHIJK", 5))


# %%
# The stateless equivalent is an LSTM that reads, for each letter, all letters up to it. They are
# padded on the left to the full length. How should they be padded? Try 0, which is also the code of
# A. Try an id that no letter has. Try such an id with a mask.
plain = Vocabulary(alphabet)
reserved = Vocabulary(alphabet, reserve_padding=True)  # 0 is the padding, and A is 1
scaled = keras.layers.Rescaling(1 / 26)
shifted = keras.layers.Rescaling(1 / 26, offset=-1 / 26)  # A is 0 again, and padding is below
ways = {
    "0, the code of A": (plain, [scaled]),
    "an id of its own": (reserved, [shifted]),
    "an id of its own, and a mask": (reserved, [keras.layers.Masking(0), shifted]),
}


def train_on_prefixes(vocabulary, layers, seed):
    """Return the accuracy in percent, and a generator."""
    keras.utils.set_random_seed(seed)
    prefixes = SequenceFramer(25, mode="prefixes", vocabulary=vocabulary).frame(alphabet)
    recurrent = [keras.layers.LSTM(16), keras.layers.Dense(len(vocabulary), activation="softmax")]
    stateless = keras.Sequential([keras.Input(prefixes.x_shape), *layers, *recurrent])
    stateless.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(stateless, prefixes, batch_size=1, epochs=300, seed=seed, verbose=0)
    _, accuracy = stateless.evaluate(*prefixes.arrays(), verbose=0)
    return 100 * accuracy, Generator(stateless, prefixes.framer)


# %%
# Measure them over three seeds. Without a mask the LSTM reads the padding too, up to 24 steps of it
# before the first letter. Then it does not learn all letters, whether the padding looks like A or
# not. With the mask it reads the same letters as the stateful model, and learns them all.
for way, (vocabulary, layers) in ways.items():
    accuracies = [train_on_prefixes(vocabulary, layers, seed)[0] for seed in range(3)]
    print(f"{way:30}", *(f"{accuracy:6.0f} %" for accuracy in accuracies))

# %%
# With the mask, the free run from A is the alphabet.
_, generator = train_on_prefixes(*ways["an id of its own, and a mask"], seed=7)
print("A", *generator.generate("A", 25))

# sphinx_gallery_thumbnail_path = '_build/thumbnails/05.png'
