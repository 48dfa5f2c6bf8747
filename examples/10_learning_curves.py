"""
Learning curves of the chapter's six models
===========================================

How do the six models of the examples learn the alphabet? This script trains all six as in the
chapter, and draws their accuracy over the epochs in one figure.
"""

# %%
# `reproduce_chapter.py`, in the same folder, frames, builds and trains each model. `fit` returns
# Keras's own `History`.
import matplotlib.pyplot as plt
from reproduce_chapter import MODELS, train

from seqframe import plot_history

histories = {}
for model in MODELS:
    result = train(model, seed=7, epochs=model.epochs, plain_fit=False)
    histories[f"{model.number}: {model.framing}"] = result.history
    print(f"{model.number}: {model.framing:24} {result.accuracy:6.2f}% in {result.seconds:.1f} s")

# %%
# They are trained for 300 to 5,000 epochs, so the axis is logarithmic. Epochs differ in length.
# Model 6 has 1,000 frames in each, the others have 23 to 25. Model 4 takes a single step in each.
plot_history(histories)
plt.show()
