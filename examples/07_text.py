"""
A character model of Python's documentation
===========================================

The model reads a text that comes with every Python, letter by letter. Then it writes in the same
style. The text is one long sequence. `lanes` cuts it into rows that are read side by side. The
state goes on from batch to batch. The gradients do not (truncated back-propagation).
"""

# %%
import keras

from seqframe import Generator, SequenceFramer, Vocabulary, datasets, fit

keras.utils.set_random_seed(7)
text = datasets.load_python_docs()
# The vocabulary comes from the training part. Letters that only the rest has are out-of-vocabulary.
seen = text[: int(0.95 * len(text))]
vocabulary = Vocabulary.from_sequences(seen, unknown="\N{REPLACEMENT CHARACTER}")
print(f"{len(text):,} letters, a vocabulary of {len(vocabulary)}")

# %%
# Windows of 32 letters follow each other. The target of each letter is the next one.
framer = SequenceFramer(
    32, sequence_stride=32, layout="tokens", return_sequences=True, vocabulary=vocabulary
)
train, validation = framer.frame(text).split(0.95, 0.05)
lanes = train.lanes(64)
print(f"{len(lanes)} batches of {lanes.batch_size} lanes")

# %%
# Sixty-four lanes need a state of 64 rows.
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
# The generator has the same weights, and a state of its own with one row. Each call says how it
# draws. At a low temperature the model mostly chooses likely letters.
generator = Generator(model, train.framer, sampler="random", seed=7)
for temperature in (0.3, 0.7, 1.0):
    text = generator.generate("The statement ", 200, temperature=temperature, include_prompt=True)
    print(f"\ntemperature {temperature}: {text}")

# %%
# Stream letters as they are generated, up to a stop.
print("\nThe following ", end="")
for letter in generator.stream("The following ", 300, stop=".", top_p=0.9):
    print(letter, end="")
print()

# sphinx_gallery_thumbnail_path = '_build/thumbnails/07.png'
