"""
Pictures of frames and lanes
============================

A framing is easiest to judge by looking at it: which steps each frame reads, which ones it is to
predict, and, for stateful models, which frames continue each other. Pictures need matplotlib:
`pip install ".[plot]"`.
"""

# %%
# **Windows**, the default. The sequence stands on top, one frame in each row below it: in blue the
# steps of the input, in orange the target. Each window begins one step after the one before.
import matplotlib.pyplot as plt
import numpy as np

from seqframe import SequenceFramer

alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SequenceFramer(3).frame(alphabet).plot()
plt.show()

# %%
# **Windows as features** are the same windows. Only their layout differs, which no step can show:
# one time step of three features instead of three time steps of one.
windows = SequenceFramer(3).frame(alphabet)
features = SequenceFramer(3, layout="features").frame(alphabet)
print("as time steps:", windows.x_shape, " as features:", features.x_shape)
features.plot(3)
plt.show()

# %%
# **Prefixes**: all that came before each step, filled up with padding to one length. `index`
# chooses the frames to look at.
prefixes = SequenceFramer(25, mode="prefixes").frame(alphabet)
prefixes.plot(index=[0, 1, 2, 10, 20, 24])
plt.show()

# %%
# **Subsequences**: random stretches of random length.
framer = SequenceFramer(5, mode="subsequences", num_samples=1000, seed=7)
framer.frame(alphabet).plot()
plt.show()

# %%
# Now numbers: a wave, a value every hour. Each window is to predict a `horizon` of three hours.
wave = np.sin(np.arange(72) / 4)
SequenceFramer(6, horizon=3).frame(wave).plot(5)
plt.show()

# %%
# A `gap` lies between what is known and what is to be predicted: today's forecast is for the day
# after tomorrow.
SequenceFramer(6, horizon=3, gap=4).frame(wave).plot(5)
plt.show()

# %%
# A `sampling_rate` leaves out steps inside a window, so that it reaches back further with as few.
# `sequence_stride` is the distance from one window to the next.
SequenceFramer(6, horizon=3, sampling_rate=3, sequence_stride=4).frame(wave).plot(5)
plt.show()

# %%
# With `return_sequences` each step of the input has a target of its own, drawn beneath it.
SequenceFramer(6, return_sequences=True).frame(alphabet).plot(5)
plt.show()

# %%
# If values are missing, `skip_nan` leaves out the frames that would contain them. Triangles mark the
# steps of future covariates, such as a calendar: these are the target steps.
holes = wave.copy()
holes[[9, 10]] = np.nan
SequenceFramer(4, horizon=2).frame(holes, future=np.arange(72) % 24, skip_nan=True).plot(10)
plt.show()

# %%
# Of several sequences each has its own frames: none crosses from one to the next.
SequenceFramer(3).frame(["HELLO WORLD", "FRAMES", "SEQUENCE"]).plot(9)
plt.show()

# %%
# **Lanes** are the rows of stateful batches: the state of a row goes on from batch to batch. One
# sequence is cut into as many lanes as the batch has rows. A triangle says where a row's state is
# reset. 25 frames do not fill four rows evenly, so some run out: what is repeated there weighs
# nothing.
letters = SequenceFramer(1).frame(alphabet)
letters.lanes(4).plot()
plt.show()

# %%
# Many sequences are packed into lanes, the longest first. Each is whole in one row, whose state is
# reset where the next one begins.
lengths = np.random.default_rng(7).integers(12, 96, 20)
days = SequenceFramer(4, sequence_stride=4).frame([np.arange(float(n)) for n in lengths])
days.lanes(6).plot()
plt.show()
