"""
A character model of Python's documentation
===========================================

Reads a text that every Python brings along, a letter at a time, and then writes in its manner. The
text is one long sequence: it is cut into lanes that are read side by side, the state goes on from
batch to batch, and gradients go back as far as a batch (truncated back-propagation).
"""

# %%
from pydoc_data.topics import topics

import keras

from seqframe import Generator, SequenceFramer, Vocabulary, fit
from seqframe.samplers import RandomSampler

keras.utils.set_random_seed(7)
lines = [" ".join(line.split()) for topic in topics.values() for line in topic.splitlines()]
text = "".join(letter for letter in "\n".join(lines) if letter.isascii())
# The vocabulary is that of the part to train on; what only the rest has is unknown to it.
seen = text[: int(0.95 * len(text))]
vocabulary = Vocabulary.from_sequences(seen, unknown="\N{REPLACEMENT CHARACTER}")
print(f"{len(text):,} letters, a vocabulary of {len(vocabulary)}")

# %%
# Stretches of 32 letters that follow each other, each letter with the one after it as its target.
framer = SequenceFramer(
    32, sequence_stride=32, layout="tokens", return_sequences=True, vocabulary=vocabulary
)
train, validation = framer.frame(text).split(0.95, 0.05)
lanes = train.lanes(64)
print(f"{len(lanes)} batches of {lanes.batch_size} lanes")

# %%
# Sixty-four lanes need a state of as many rows.
model = keras.Sequential(
    [
        keras.Input(batch_shape=(64, 32)),
        keras.layers.Embedding(len(vocabulary), 32),
        keras.layers.LSTM(128, stateful=True, return_sequences=True),
        keras.layers.Dense(len(vocabulary)),
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(0.007), loss, weighted_metrics=["accuracy"])
history = fit(model, lanes, epochs=6, validation_data=validation, verbose=2)

# %%
# The generator runs the same weights with a state of its own, of one row. A low temperature keeps
# to what is likely.
for temperature in (0.3, 0.7, 1.0):
    sampler = RandomSampler(temperature)
    generator = Generator(model, train.framer, sampler=sampler, seed=7)
    text = generator.generate("The statement ", 200, include_prompt=True)
    print(f"\ntemperature {temperature}: {text}")

# %%
# Up to a stop, letter by letter as they come.
generator = Generator(model, train.framer, sampler="top_p", seed=7)
print("\nThe following ", end="")
for letter in generator.stream("The following ", 300, stop="."):
    print(letter, end="")
print()

# sphinx_gallery_thumbnail_path = '_build/thumbnails/07.png'
