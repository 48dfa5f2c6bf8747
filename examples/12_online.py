"""
Tag long recordings as they come in
===================================

A sensor hears a click when a pump is switched on, and a duller click when it is switched off. In
between there is only noise. Is the pump on? The answer may lie hundreds of steps back. So a
stateful model reads whole recordings in windows of 25 steps. Then it tags each step as it comes.
"""

# %%
# Forty recordings of unequal length, with a label for every step.
import tempfile

import keras
import matplotlib.pyplot as plt
import numpy as np

from seqframe import SequenceFramer, Stepper, evaluate, fit, predict

keras.utils.set_random_seed(7)
rng = np.random.default_rng(7)


def record(steps):
    clicks, is_on = rng.random(steps) < 0.02, rng.random(steps) < 0.5
    clicks[0] = True
    last = np.maximum.accumulate(np.where(clicks, np.arange(steps), 0))
    sound = np.stack([clicks & is_on, clicks & ~is_on], axis=1) * 3.0
    labels = is_on[last].astype("float32")[:, None]
    return (sound + 0.5 * rng.normal(size=(steps, 2))).astype("float32"), labels


recordings, labels = zip(*[record(steps) for steps in rng.integers(300, 900, size=40)], strict=True)

# %%
# `gap=-1` gives each step its own label. Windows follow each other, so that the state sees every
# step once. `pad_end=True` also frames the last steps, which fill no window. The last eight
# recordings are kept apart.
framer = SequenceFramer(25, sequence_stride=25, gap=-1, return_sequences=True, pad_end=True)
train = framer.frame(list(recordings[:32]), list(labels[:32]))
test = framer.frame(list(recordings[32:]), list(labels[32:]))
print(f"{len(train)} stretches of shape {train.x_shape}")


# %%
# Train the same network without state and with it. Each lane of a batch reads one recording after
# the other, and its state is reset in between. Only the state knows what lies before a window.
def tagger(stateful):
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input(train.x_shape, batch_size=16 if stateful else None),
            keras.layers.GRU(16, return_sequences=True, stateful=stateful),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", weighted_metrics=["accuracy"])
    fit(model, train, epochs=16, verbose=0, seed=7)
    _, accuracy = evaluate(model, test, verbose=0)
    print(f"{'with' if stateful else 'without'} state: {accuracy:.1%} of unseen steps are right")
    return model


tagger(stateful=False)
model = tagger(stateful=True)

# %%
# Online, the model gets one step at a time. It was built for 16 rows of 25 steps. The stepper takes
# one row and one step, and gives the outputs that `predict` gives for the whole recording.
stepper = Stepper(model, train.framer)
recording = recordings[-1]
tags = np.array([stepper(x) for x in recording])
whole = predict(model, framer.frame(recording), verbose=0).reshape(-1, 1)[: len(tags)]
print(f"apart from `predict` of the whole recording by {np.abs(tags - whole).max():.4f}")
print(f"{np.mean((tags > 0.5) == labels[-1]):.1%} of this recording is right")

# %%
figure, ax = plt.subplots(figsize=(8, 2.5), layout="constrained")
ax.fill_between(np.arange(len(tags)), labels[-1][:, 0], step="mid", alpha=0.3, label="pump is on")
ax.plot(tags, label="probability, step by step")
ax.set_xlabel("step")
ax.legend(loc="upper right")
plt.show()

# %%
# Three pumps at once: each is a row. When a pump starts a new recording, only its row is reset.
stepper = Stepper(model, train.framer, rows=3)
for step in range(300):
    if step == 200:
        stepper.reset(rows=[1])
    tags = stepper(np.stack([recording[step] for recording in recordings[-3:]]))
print("the pumps are on with probability", tags.ravel().round(2))

# %%
# The program may stop. A stepper that was saved goes on where it was.
with tempfile.TemporaryDirectory() as folder:
    stepper.save(f"{folder}/pumps.keras")
    later = Stepper.load(f"{folder}/pumps.keras")
x = np.stack([recording[300] for recording in recordings[-3:]])
print("the stepper says", stepper(x).ravel().round(2))
print("the loaded one says", later(x).ravel().round(2))
