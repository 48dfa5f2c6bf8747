"""
Learning curves of the chapter's six models
===========================================

How do the six models of the examples learn the alphabet? This script trains all six as in the
chapter, and draws their accuracy over the epochs in one figure.
"""

# %%
# The models differ in their frames, in the size of the LSTM, and in the batches.
import time

import keras
import matplotlib.pyplot as plt

from seqframe import SequenceFramer, fit, plot_history

alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
random = SequenceFramer(5, mode="subsequences", num_samples=1000, seed=7)
models = {
    "1: one letter": (SequenceFramer(1), dict(units=32, epochs=500)),
    "2: 3 letters as features": (
        SequenceFramer(3, layout="features"),
        dict(units=32, epochs=500),
    ),
    "3: 3 letters as time steps": (SequenceFramer(3), dict(units=32, epochs=500)),
    "4: one letter, one batch": (
        SequenceFramer(1),
        dict(units=16, epochs=5000, batch_size=25),
    ),
    "5: one letter, stateful": (
        SequenceFramer(1),
        dict(units=16, epochs=300, stateful=True),
    ),
    "6: 1 to 5 letters, padded": (random, dict(units=32, epochs=500)),
}


def train(framer, units, epochs, batch_size=1, stateful=False):
    """Return Keras's History of a model."""
    keras.utils.set_random_seed(7)
    frames = framer.frame(alphabet)
    model = keras.Sequential(
        [
            keras.Input(frames.x_shape, batch_size=batch_size if stateful else None),
            keras.layers.Rescaling(1 / 26),
            keras.layers.LSTM(units, stateful=stateful),
            keras.layers.Dense(26, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return fit(model, frames, batch_size=batch_size, epochs=epochs, seed=7, verbose=0)


# %%
# `fit` returns Keras's own History. The accuracy is that of the last epoch.
histories = {}
for name, (framer, options) in models.items():
    begin = time.perf_counter()
    histories[name] = train(framer, **options)
    accuracy, seconds = histories[name].history["accuracy"][-1], time.perf_counter() - begin
    print(f"{name:26} {accuracy:7.2%} in {seconds:.1f} s")

# %%
# They are trained for 300 to 5,000 epochs, so the axis is logarithmic. Epochs differ in length.
# Model 6 has 1,000 frames in each, the others have 23 to 25. Model 4 takes a single step in each.
plot_history(histories)
plt.show()
