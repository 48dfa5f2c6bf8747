"""
Sampling from a character model
===============================

A small model reads some pages of Python's documentation, letter by letter. Then each call of
`generate` says how it draws the next letter: by a temperature, from the nucleus, or with rules
against repetition. New numbers compile nothing.
"""

# %%
import keras

from seqframe import Generator, SequenceFramer, datasets, fit
from seqframe.processors import BannedSymbols, NoRepeatNGram, RepetitionPenalty

keras.utils.set_random_seed(7)
text = datasets.load_python_docs()[:80_000]

# %%
# Thirty-two rows read the text side by side, 50 letters at a time. Each row keeps its state from
# batch to batch. The target of each letter is the next one.
framer = SequenceFramer(50, sequence_stride=50, layout="tokens", return_sequences=True)
lanes = framer.frame(text).lanes(32)
vocabulary = lanes.frames.vocabulary
model = keras.Sequential(
    [
        keras.Input(batch_shape=(32, 50)),
        keras.layers.Embedding(len(vocabulary), 32),
        keras.layers.GRU(96, stateful=True, return_sequences=True),
        keras.layers.Dense(len(vocabulary)),
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(0.01), loss)
history = fit(model, lanes, epochs=8, verbose=2)

# %%
# One generator, three temperatures. At a low temperature the model chooses likely letters, and
# repeats itself. At a high one it invents words.
generator = Generator(model, lanes.frames.framer, sampler="random", seed=7)
for temperature in (0.2, 0.7, 1.2):
    text = generator.generate("The statement ", 150, temperature=temperature)
    print(f"\ntemperature {temperature}: {text!r}")

# %%
# Nucleus sampling leaves the unlikely letters out. The rows of a call draw different letters, so
# one prompt gives three texts. The same seed gives the same texts again.
for top_p in (0.5, 0.9):
    texts = generator.generate("The value ", 50, top_p=top_p, num_samples=3, seed=1)
    print(f"\ntop_p {top_p}:", *map(repr, texts), sep="\n  ")

# %%
# Processors change the logits, one after the other. Here letters that have occurred become a
# little less likely, no eight letters come twice, and the text gets no brackets.
processors = [
    RepetitionPenalty(1.05),
    NoRepeatNGram(8),
    BannedSymbols(vocabulary.encode("()[]{}")),
]
careful = Generator(
    model, lanes.frames.framer, sampler="random", logits_processor=processors, seed=7
)
print(f"\nwith processors: {careful.generate('The statement ', 150, temperature=0.2)!r}")

# %%
# Letters come one by one, up to a full stop.
print("\nThe object ", end="")
for letter in generator.stream("The object ", 200, stop=".", temperature=0.7, top_p=0.9):
    print(letter, end="")
print()

# sphinx_gallery_thumbnail_path = '_build/thumbnails/13.png'
