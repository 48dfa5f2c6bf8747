"""
Learning curves of the chapter's six models
===========================================

How do the six models of the examples before get to know the alphabet? All six are trained here as
in the chapter, one after the other, and their accuracy is drawn over the epochs, in one figure.
"""

# %%
# `reproduce_chapter.py`, beside this file, says how each model is framed, built and trained. What
# `fit` returns is Keras's own `History`.
import matplotlib.pyplot as plt
from reproduce_chapter import MODELS, train

from seqframe import plot_history

histories = {}
for model in MODELS:
    result = train(model, seed=7, epochs=model.epochs, plain_fit=False)
    histories[f"{model.number}: {model.framing}"] = result.history
    print(f"{model.number}: {model.framing:24} {result.accuracy:6.2f}% in {result.seconds:.1f} s")

# %%
# One of them is trained for 5,000 epochs, one for 300: the epochs are on a logarithmic axis. And an
# epoch is not as long for all of them. Model 6 learns from 1,000 frames in each, the others from 23
# to 25, and model 4 takes a single step.
plot_history(histories)
plt.show()
