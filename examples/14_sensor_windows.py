"""
Classify sensor windows: which movement is it?
==============================================

A sensor on the wrist measures acceleration along three axes, 20 times a second. A small model says
from three seconds whether its wearer rests, walks, climbs stairs or runs. The errors that count are
those on people whom the model has never seen.
"""

# %%
import keras
import numpy as np

from seqframe import SequenceFramer, fit, predict

MOVEMENTS = ["rests", "walks", "climbs", "runs"]
RHYTHM = np.array([0.1, 1.7, 1.2, 2.6])  # steps a second
STRENGTH = np.array([0.1, 1.0, 0.9, 2.2])

keras.utils.set_random_seed(7)
random = np.random.default_rng(7)


# %%
# Make the recordings of six people. Each moves with another rhythm and strength, and wears the
# sensor in another way. The label of a step is the movement at that moment.
def record(seconds=20, rate=20):
    """Return the acceleration of a person `(steps, 3)`, and the movement of each step."""
    labels = np.repeat(random.permutation(np.tile(range(4), 3)), seconds * rate)
    phase = np.cumsum(2 * np.pi * RHYTHM[labels] * random.uniform(0.8, 1.25) / rate)
    size = STRENGTH[labels] * random.uniform(0.6, 1.5)
    climbs = labels == 2
    bounce = size * np.sin(phase) + climbs * size * 0.5 * np.sin(2 * phase)
    swing = size * 0.6 * np.sin(phase / 2)
    axes = np.stack([bounce, swing, 0.4 * size * np.cos(phase)], axis=1)
    worn = np.linalg.qr(random.normal(size=(3, 3)) + 6 * np.eye(3))[0]
    noise = random.normal(scale=0.4, size=axes.shape)
    return (axes @ worn + noise).astype("float32"), labels


people = {f"person {number}": record() for number in range(6)}
signals = {name: signal for name, (signal, _) in people.items()}
labels = {name: label for name, (_, label) in people.items()}

# %%
# Frame them: windows of 60 steps, one each second. `gap=-1` pairs a window with the label of its
# last step. The labels are no inputs, so the model cannot read them.
framer = SequenceFramer(60, sequence_stride=20, gap=-1)
frames = framer.frame(signals, targets=labels)
print(frames)

# %%
# Cut by people, as scikit-learn's `GroupKFold` does. Neighbouring windows share two of their three
# seconds. If they were drawn for the test at random, the model would know nearly all of them.
folds = frames.folds(3, by="sequences", mode="kfold", seed=7)
for train, test in folds:
    print(f"train on {len(train)} windows, test on", *np.unique(test.labels()))


# %%
# The model is small and takes the signals as they are.
def make_model():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((60, 3)),
            layers.Conv1D(16, 9, strides=2, activation="relu"),
            layers.Conv1D(32, 9, strides=2, activation="relu"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(4, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    return model


# %%
# Train on each fold, and predict the people that were left out. The mean hides that the model fails
# for one of them.
hits, names = [], []
for train, test in folds:
    model = make_model()
    fit(model, train, batch_size=64, epochs=12, seed=7, verbose=0)
    predicted = predict(model, test, batch_size=256, verbose=0).argmax(axis=-1)
    hits.append(predicted == test.arrays()[1])
    names.append(test.labels())
hits, names = np.concatenate(hits), np.concatenate(names)
for name in np.unique(names):
    print(f"{name}: {hits[names == name].mean():.0%}")
print(f"all people: {hits.mean():.0%}")

# %%
# scikit-learn takes the same frames as rows of numbers, with `layout="flat"`. A forest is the
# baseline. If its test windows are drawn at random, it looks better than it is.
try:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import GroupKFold, KFold, cross_val_score
except ModuleNotFoundError:
    pass
else:
    flat = SequenceFramer(60, sequence_stride=20, gap=-1, layout="flat")
    X, y = flat.frame(signals, targets=labels).arrays()
    forest = RandomForestClassifier(30, random_state=7)
    honest = cross_val_score(forest, X, y, cv=GroupKFold(3), groups=frames.labels())
    print(f"random forest, people unseen: {honest.mean():.0%}")
    leaky = cross_val_score(forest, X, y, cv=KFold(3, shuffle=True, random_state=7))
    print(f"random forest, windows at random: {leaky.mean():.0%}")

# sphinx_gallery_thumbnail_path = '_build/thumbnails/14.png'
