"""
Train one model with Ray Train
==============================

Ray starts the workers, and connects their PyTorch processes. Each worker makes the same frames and
calls `fit`, which trains one model in all of them.

    pip install -e ".[ray]"
    python examples/scale/ray_train.py
"""

import os

os.environ["KERAS_BACKEND"] = "torch"  # the workers inherit it

import ray
from ray import train
from ray.train.torch import TorchTrainer

WORKERS = 2


def train_model(config):
    """Train in one worker. Ray calls it in each."""
    import keras
    import numpy as np

    from seqframe import SequenceFramer, fit

    steps = np.arange(1_000, dtype="float32")
    wave = np.sin(steps / 5) + np.random.default_rng(7).normal(scale=0.1, size=1_000)
    frames = SequenceFramer(24).frame(wave.astype("float32"))

    keras.utils.set_random_seed(7)
    layers = [keras.Input((24, 1)), keras.layers.Flatten(), keras.layers.Dense(16, "relu")]
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    # `batch_size` is the size of the whole batch: with two workers, 16 rows for each.
    history = fit(model, frames, batch_size=32, epochs=config["epochs"], seed=7, verbose=0)
    weights = sum(float(np.abs(weight).sum()) for weight in model.get_weights())
    return {"loss": history.history["loss"][-1], "weights": weights}


if __name__ == "__main__":
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    trainer = TorchTrainer(
        train_model,
        train_loop_config={"epochs": 3},
        scaling_config=train.ScalingConfig(num_workers=WORKERS),
    )
    together = trainer.fit().return_value  # of the first worker
    alone = train_model({"epochs": 3})  # without Ray
    print("one process:", alone)
    print(f"{WORKERS} workers:", together)
    apart = abs(together["weights"] - alone["weights"])
    print(f"The sums of the weights differ by {apart:.0e}.")
    ray.shutdown()
