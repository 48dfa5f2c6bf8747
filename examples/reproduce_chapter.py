"""
The chapter's six models in one run
===================================

Trains the six models of the tutorial chapter "Understanding Stateful LSTM Recurrent Neural
Networks" and prints one table: accuracy here, accuracy in the chapter, seconds.

    python examples/reproduce_chapter.py                        # all six, half a minute
    python examples/reproduce_chapter.py --seeds 5              # min, median, max over seeds 0 to 4
    python examples/reproduce_chapter.py --models 1 --plain-fit # by `model.fit`, for comparison
"""

import argparse
import json
import logging
import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import Any

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class ChapterModel:
    """One model of the chapter: how it is framed and trained, and what it reached."""

    number: int
    framing: str
    framer: dict[str, Any]
    units: int
    batch_size: int
    epochs: int
    chapter: float  # accuracy printed in the chapter, percent
    range: tuple[float, float]  # over seeds, percent
    stateful: bool = False
    shuffle: bool = True


MODELS = [
    ChapterModel(1, "one letter", dict(sequence_length=1), 32, 1, 500, 84.00, (76.00, 88.00)),
    ChapterModel(
        2,
        "3 letters as features",
        dict(sequence_length=3, layout="features"),
        32,
        1,
        500,
        86.96,
        (82.61, 86.96),
    ),
    ChapterModel(
        3, "3 letters as time steps", dict(sequence_length=3), 32, 1, 500, 100.00, (95.65, 100.00)
    ),
    ChapterModel(
        4,
        "one letter, one batch",
        dict(sequence_length=1),
        16,
        25,
        5000,
        100.00,
        (100.00, 100.00),
        shuffle=False,
    ),
    ChapterModel(
        5,
        "one letter, stateful",
        dict(sequence_length=1),
        16,
        1,
        300,
        100.00,
        (100.00, 100.00),
        stateful=True,
        shuffle=False,
    ),
    ChapterModel(
        6,
        "1 to 5 letters, padded",
        dict(sequence_length=5, mode="subsequences", num_samples=1000),
        32,
        1,
        500,
        98.90,
        (97.40, 98.80),
    ),
]


@dataclass
class Result:
    """What one training run gave."""

    model: int
    seed: int
    accuracy: float  # percent
    seconds: float
    rollouts: dict[str, str] = field(default_factory=dict)
    history: Any = None  # keras.callbacks.History

    def as_json(self) -> dict[str, Any]:
        """Return the result as one flat JSON object."""
        return {
            "model": self.model,
            "seed": self.seed,
            "accuracy": self.accuracy,
            "seconds": self.seconds,
            **self.rollouts,
        }


def main() -> None:
    arguments = parse_arguments()
    if arguments.backend:
        os.environ["KERAS_BACKEND"] = arguments.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    chosen = [model for model in MODELS if model.number in arguments.models]
    seeds = range(arguments.seeds) if arguments.seeds else [7]
    results = []
    for number, seed in enumerate(seeds, 1):
        for model in chosen:
            run = f"seed {seed} ({number} of {len(seeds)}), " if arguments.seeds else ""
            print(f"{run}model {model.number}: {model.framing} …", end=" ", flush=True)
            result = train(model, seed, arguments.epochs or model.epochs, arguments.plain_fit)
            results.append(result)
            print(f"{result.accuracy:.2f}% in {result.seconds:.1f} s", flush=True)
    print()
    print_table(chosen, results)
    print_rollouts(results)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump([result.as_json() for result in results], file, indent=2)
    if arguments.check and not check(results):
        sys.exit(1)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("--seeds", type=int, metavar="N", help="run seeds 0 to N - 1")
    parser.add_argument("--json", metavar="PATH", help="write the results there too")
    parser.add_argument(
        "--plain-fit", action="store_true", help="train with model.fit instead of seqframe.fit"
    )
    parser.add_argument(
        "--models",
        type=int,
        nargs="+",
        choices=range(1, 7),
        default=[1, 2, 3, 4, 5, 6],
        metavar="M",
        help="only these models",
    )
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="train for N epochs, to compare speeds"
    )
    parser.add_argument("--backend", choices=["tensorflow", "jax", "torch"], help="Keras backend")
    parser.add_argument(
        "--check",
        action="store_true",
        help="fail if a (median) accuracy leaves its range over seeds, or a rollout is wrong",
    )
    arguments = parser.parse_args()
    if arguments.seeds is not None and arguments.seeds < 1:
        parser.error("--seeds must be at least 1")
    return arguments


def train(model: ChapterModel, seed: int, epochs: int, plain_fit: bool) -> Result:
    """Train one model from scratch and measure it. The seconds are of the training, compilation
    included."""
    import keras

    from seqframe import SequenceFramer, StatefulTrainer, fit

    keras.utils.set_random_seed(seed)
    sampling = {"seed": seed} if model.framer.get("mode") == "subsequences" else {}
    frames = SequenceFramer(**model.framer, **sampling).frame(ALPHABET)
    network = build(model, frames.x_shape)
    X, y = frames.arrays()
    callbacks = [StatefulTrainer()] if model.stateful else []
    begin = time.perf_counter()
    if plain_fit:
        history = network.fit(
            X,
            y,
            batch_size=model.batch_size,
            epochs=epochs,
            shuffle=model.shuffle,
            verbose=0,
            callbacks=callbacks,
        )
    else:
        history = fit(
            network,
            frames,
            batch_size=model.batch_size,
            epochs=epochs,
            shuffle=model.shuffle,
            seed=seed,
            verbose=0,
        )
    seconds = time.perf_counter() - begin
    _, accuracy = network.evaluate(
        X,
        y,
        batch_size=model.batch_size if model.stateful else len(X),
        verbose=0,
        callbacks=callbacks,
    )
    rollouts = roll_out(network, frames.framer) if model.stateful else {}
    return Result(model.number, seed, 100 * accuracy, seconds, rollouts, history)


def build(model: ChapterModel, x_shape: tuple[int, ...]) -> Any:
    """Return the chapter's network: an LSTM and a softmax over the letters, compiled."""
    import keras

    inputs = (
        keras.Input(batch_shape=(model.batch_size, *x_shape))
        if model.stateful
        else keras.Input(x_shape)
    )
    network = keras.Sequential(
        [
            inputs,
            keras.layers.Rescaling(1 / len(ALPHABET)),
            keras.layers.LSTM(model.units, stateful=model.stateful),
            keras.layers.Dense(len(ALPHABET), activation="softmax"),
        ]
    )
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return network


def roll_out(network: Any, framer: Any) -> dict[str, str]:
    """Return model 5's three rollouts: from A, from K cold, and from K with A to J read before."""
    from seqframe import Generator

    generator = Generator(network, framer)
    return {
        "free_run": generator.generate("A", 25),
        "cold_k": generator.generate("K", 5),
        "warm_k": generator.generate("ABCDEFGHIJK", 5),
    }


def print_table(models: list[ChapterModel], results: list[Result]) -> None:
    several = len({result.seed for result in results}) > 1
    here = "min / median / max here" if several else "accuracy here"
    print(f"{'model':5}  {'framing':24}  {here:>24}  {'in the chapter':>14}  {'seconds':>7}")
    for model in models:
        own = [result for result in results if result.model == model.number]
        accuracies = [result.accuracy for result in own]
        spread = [min(accuracies), statistics.median(accuracies), max(accuracies)]
        shown = " / ".join(f"{value:.2f}" for value in spread) if several else f"{spread[1]:.2f}"
        seconds = statistics.median(result.seconds for result in own)
        print(
            f"{model.number:5}  {model.framing:24}  {shown:>24}  {model.chapter:14.2f}  "
            f"{seconds:7.1f}"
        )
    total = sum(result.seconds for result in results)
    print(f"{'':5}  {'total':24}  {'':>24}  {'':>14}  {total:7.1f}")


def print_rollouts(results: list[Result]) -> None:
    for result in results:
        if result.rollouts:
            print(f"\nModel 5, seed {result.seed}, its predictions fed back in:")
            print("  from A:              ", *result.rollouts["free_run"])
            print("  from K, cold:        ", *result.rollouts["cold_k"])
            print("  from K, after A to J:", *result.rollouts["warm_k"])


def check(results: list[Result]) -> bool:
    """Say which results are not what they should be; return whether all are.

    A single run has to be in the model's range over seeds, the median of several too; the rollouts
    have to be right each time.
    """
    right = True
    for model in MODELS:
        accuracies = [result.accuracy for result in results if result.model == model.number]
        if not accuracies:
            continue
        median, (low, high) = statistics.median(accuracies), model.range
        if not low - 0.005 <= median <= high + 0.005:
            right = False
            print(
                f"Model {model.number}: {median:.2f}% is not in the range over seeds, "
                f"{low:.2f}% to {high:.2f}%."
            )
    expected = {"free_run": ALPHABET[1:], "cold_k": "BCDEF", "warm_k": "LMNOP"}
    for result in results:
        for name, text in result.rollouts.items():
            if text != expected[name]:
                right = False
                print(f"Model 5, seed {result.seed}: {name} is {text}, not {expected[name]}.")
    print("\nEvery result is in its range." if right else "\nSome results are not in their range.")
    return right


if __name__ == "__main__":
    main()
