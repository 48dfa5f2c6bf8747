"""
Pictures of frames and lanes
============================

Look at a framing to check it: which steps each frame reads, which steps are its target, and which
frames continue each other in stateful batches. Pictures need matplotlib: `pip install ".[plot]"`.
"""

# %%
# **Windows** are the default. The sequence is on top, and each row below is one frame. Inputs are
# blue, targets are orange. Each window begins one step after the one before.
import matplotlib.pyplot as plt
import numpy as np

from seqframe import SequenceFramer

alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SequenceFramer(3).frame(alphabet).plot()
plt.show()

# %%
# **Windows as features** are the same windows, so the picture is the same. Only their layout
# differs: one time step of three features, not three time steps of one.
windows = SequenceFramer(3).frame(alphabet)
features = SequenceFramer(3, layout="features").frame(alphabet)
print("as time steps:", windows.x_shape, " as features:", features.x_shape)
features.plot(3)
plt.show()

# %%
# **Prefixes** are all steps before a target, padded to one length. `index` chooses frames to draw.
prefixes = SequenceFramer(25, mode="prefixes").frame(alphabet)
prefixes.plot(index=[0, 1, 2, 10, 20, 24])
plt.show()

# %%
# **Subsequences** have random starts and lengths.
framer = SequenceFramer(5, mode="subsequences", num_samples=1000, seed=7)
framer.frame(alphabet).plot()
plt.show()

# %%
# Now numbers: a wave with a value every hour. Each window has a target of three hours, its
# `horizon`.
wave = np.sin(np.arange(72) / 4)
SequenceFramer(6, horizon=3).frame(wave).plot(5)
plt.show()

# %%
# A `gap` lies between the input and the target. A forecast for the day after tomorrow has one.
SequenceFramer(6, horizon=3, gap=4).frame(wave).plot(5)
plt.show()

# %%
# A `sampling_rate` skips steps inside a window, so the window reaches back further.
# `sequence_stride` is the distance from one window to the next.
SequenceFramer(6, horizon=3, sampling_rate=3, sequence_stride=4).frame(wave).plot(5)
plt.show()

# %%
# With `return_sequences` each input step has a target of its own, drawn below it.
SequenceFramer(6, return_sequences=True).frame(alphabet).plot(5)
plt.show()

# %%
# `skip_nan` drops every frame that contains a NaN. Future covariates, such as a calendar, belong to
# the target steps.
holes = wave.copy()
holes[[9, 10]] = np.nan
SequenceFramer(4, horizon=2).frame(holes, future=np.arange(72) % 24, skip_nan=True).plot(10)
plt.show()

# %%
# Each of several sequences has its own frames. No frame crosses from one to the next.
SequenceFramer(3).frame(["HELLO WORLD", "FRAMES", "SEQUENCE"]).plot(9)
plt.show()

# %%
# **Lanes** are the rows of stateful batches: the state of a row goes on from batch to batch. One
# sequence is cut into as many lanes as the batch has rows. A triangle marks a reset of a row's
# state. 25 frames do not fill four rows evenly. A row that runs out repeats a frame with weight 0.
letters = SequenceFramer(1).frame(alphabet)
letters.lanes(4).plot()
plt.show()

# %%
# Many sequences are packed into lanes, the longest first. A sequence stays in one row. The row's
# state is reset when the next sequence begins.
lengths = np.random.default_rng(7).integers(12, 96, 20)
days = SequenceFramer(4, sequence_stride=4).frame([np.arange(float(n)) for n in lengths])
days.lanes(6).plot()
plt.show()
