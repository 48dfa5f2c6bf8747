"""
The chapter's six models in one run
===================================

Trains the six models of the tutorial chapter "Understanding Stateful LSTM Recurrent Neural
Networks". Prints one table: accuracy here, accuracy in the chapter, seconds.

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
    """One model of the chapter: how it is framed and trained, and what it reaches."""

    number: int
    framing: str
    framer: dict[str, Any]
    chapter: float  # accuracy in the chapter, percent
    range: tuple[float, float]  # accuracy over seeds, percent
    units: int = 32
    batch_size: int = 1
    epochs: int = 500
    stateful: bool = False
    shuffle: bool = True


ONE, THREE = dict(sequence_length=1), dict(sequence_length=3)
FEATURES = dict(sequence_length=3, layout="features")
ANY = dict(sequence_length=5, mode="subsequences", num_samples=1000)
EXACT, IN_ORDER = (100.00, 100.00), dict(units=16, shuffle=False)
MODELS = [
    ChapterModel(1, "one letter", ONE, 84.00, (76.00, 88.00)),
    ChapterModel(2, "3 letters as features", FEATURES, 86.96, (82.61, 86.96)),
    ChapterModel(3, "3 letters as time steps", THREE, 100.00, (95.65, 100.00)),
    ChapterModel(
        4, "one letter, one batch", ONE, 100.00, EXACT, batch_size=25, epochs=5000, **IN_ORDER
    ),
    ChapterModel(
        5, "one letter, stateful", ONE, 100.00, EXACT, epochs=300, stateful=True, **IN_ORDER
    ),
    ChapterModel(6, "1 to 5 letters, padded", ANY, 98.90, (97.40, 98.80)),
]
# Model 5's predictions, fed back in: from A, from K with a fresh state, from K after A to J.
ROLLOUTS = {"free_run": ("A", 25), "cold_k": ("K", 5), "warm_k": ("ABCDEFGHIJK", 5)}
EXPECTED = {"free_run": ALPHABET[1:], "cold_k": "BCDEF", "warm_k": "LMNOP"}


@dataclass
class Result:
    """What one training run gives."""

    model: int
    seed: int
    accuracy: float  # percent
    seconds: float
    rollouts: dict[str, str] = field(default_factory=dict)


def main() -> None:
    arguments = parse_arguments()
    if arguments.backend:
        os.environ["KERAS_BACKEND"] = arguments.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    results = []
    for seed in range(arguments.seeds) if arguments.seeds else [7]:
        for model in (model for model in MODELS if model.number in arguments.models):
            print(f"seed {seed}, model {model.number}: {model.framing} …", end=" ", flush=True)
            result = train(model, seed, arguments.epochs or model.epochs, arguments.plain_fit)
            results.append(result)
            print(f"{result.accuracy:.2f}% in {result.seconds:.1f} s", flush=True)
    print_table(results)
    print_rollouts(results)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump([as_json(result) for result in results], file, indent=2)
    if arguments.check:
        mistakes = find_mistakes(results)
        print("", *mistakes or ["Every result is in its range."], sep="\n")
        sys.exit(1 if mistakes else 0)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("--seeds", type=int, metavar="N", help="run seeds 0 to N - 1")
    add("--json", metavar="PATH", help="write the results there too")
    add("--plain-fit", action="store_true", help="train with model.fit instead of seqframe.fit")
    numbers = range(1, 7)
    add("--models", type=int, nargs="+", choices=numbers, default=numbers, help="only these models")
    add("--epochs", type=int, metavar="N", help="train for N epochs, to compare speeds")
    add("--backend", choices=["tensorflow", "jax", "torch"], help="Keras backend")
    add(
        "--check",
        action="store_true",
        help="fail if a (median) accuracy leaves its range over seeds, or a rollout is wrong",
    )
    arguments = parser.parse_args()
    if arguments.seeds is not None and arguments.seeds < 1:
        parser.error("--seeds must be at least 1")
    return arguments


def train(model: ChapterModel, seed: int, epochs: int, plain_fit: bool) -> Result:
    """Train one model from scratch and measure it. The seconds include compilation."""
    import keras

    from seqframe import Generator, SequenceFramer, StatefulTrainer, fit

    keras.utils.set_random_seed(seed)
    drawn = {"seed": seed} if model.framer.get("mode") == "subsequences" else {}
    frames = SequenceFramer(**model.framer, **drawn).frame(ALPHABET)
    network = build(model, frames.x_shape)
    X, y = frames.arrays()
    callbacks = [StatefulTrainer()] if model.stateful else []
    options = dict(batch_size=model.batch_size, epochs=epochs, shuffle=model.shuffle, verbose=0)
    begin = time.perf_counter()
    if plain_fit:
        network.fit(X, y, callbacks=callbacks, **options)
    else:
        fit(network, frames, seed=seed, **options)
    seconds = time.perf_counter() - begin
    size = model.batch_size if model.stateful else len(X)
    _, accuracy = network.evaluate(X, y, batch_size=size, verbose=0, callbacks=callbacks)
    result = Result(model.number, seed, 100 * accuracy, seconds)
    if model.stateful:
        generator = Generator(network, frames.framer)
        result.rollouts = {
            name: generator.generate(prompt, steps) for name, (prompt, steps) in ROLLOUTS.items()
        }
    return result


def build(model: ChapterModel, x_shape: tuple[int, ...]) -> Any:
    """Return the chapter's network: an LSTM and a softmax over the letters, compiled."""
    import keras

    network = keras.Sequential(
        [
            keras.Input(x_shape, batch_size=model.batch_size if model.stateful else None),
            keras.layers.Rescaling(1 / len(ALPHABET)),
            keras.layers.LSTM(model.units, stateful=model.stateful),
            keras.layers.Dense(len(ALPHABET), activation="softmax"),
        ]
    )
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return network


def print_table(results: list[Result]) -> None:
    several = len({result.seed for result in results}) > 1
    here = "min / median / max here" if several else "accuracy here"
    print(f"\n{'model':5}  {'framing':24}  {here:>24}  {'in the chapter':>14}  {'seconds':>7}")
    for model in MODELS:
        own = [result for result in results if result.model == model.number]
        if not own:
            continue
        accuracies = [result.accuracy for result in own]
        spread = (min(accuracies), statistics.median(accuracies), max(accuracies))
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


def as_json(result: Result) -> dict[str, Any]:
    """Return the result as one flat JSON object."""
    flat = dict(model=result.model, seed=result.seed, accuracy=result.accuracy)
    return {**flat, "seconds": result.seconds, **result.rollouts}


def find_mistakes(results: list[Result]) -> list[str]:
    """Return a sentence for each model and rollout that is wrong.

    The median accuracy of a model has to be in its range over seeds. Each rollout has to be right.
    """
    mistakes = []
    for model in MODELS:
        accuracies = [result.accuracy for result in results if result.model == model.number]
        low, high = model.range
        if accuracies and not low - 0.005 <= statistics.median(accuracies) <= high + 0.005:
            mistakes.append(
                f"Model {model.number}: {statistics.median(accuracies):.2f}% is not in the range "
                f"over seeds, {low:.2f}% to {high:.2f}%."
            )
    return mistakes + [
        f"Model 5, seed {result.seed}: {name} is {text}, not {EXPECTED[name]}."
        for result in results
        for name, text in result.rollouts.items()
        if text != EXPECTED[name]
    ]


if __name__ == "__main__":
    main()
