"""Rollouts that the fuzz draws: networks, and plain loops that call them step by step."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import keras
import laws
import numpy as np
from drawn import written
from keras import layers, ops
from models import seeded

from seqframe import Generator, SequenceFramer, Vocabulary, reset_states

SYMBOLS = "ABCDE"
CLOSE = 1e-4  # two programs of one network differ by less, relative to values around 1
CELLS = {"LSTM": layers.LSTM, "GRU": layers.GRU, "SimpleRNN": layers.SimpleRNN}


@dataclass(frozen=True)
class Case:
    """A network, its framer, prompts, and how far it is rolled out. The defaults are the simplest.

    Attributes:
        writes: whether it generates symbols rather than values.
        pads: whether the first windows are padded.
        rows: batch size of a stateful network; None: it is stateless.
        stepped: whether a stateless recurrent network is run step by step, `stateful=True`.
        cell: "LSTM", "GRU", "SimpleRNN", or "Dense" for a network without recurrent layers.
        deep: whether there are two recurrent layers.
        columns: columns of a step of values; 0: steps are numbers.
        known: whether the last column is not predicted, and comes from `future`.
        covariates: columns of the "future" that the network takes.
        reserved: whether the vocabulary keeps an id for padding.
        prompts: steps of each prompt, beyond those that it needs.
    """

    writes: bool = False
    pads: bool = False
    mode: str = "windows"
    layout: str = "timesteps"
    length: int = 2
    horizon: int = 1
    gap: int = 0
    rate: int = 1
    padding: str = "pre"
    padding_value: float = 0
    return_sequences: bool = False
    rows: int | None = None
    stepped: bool = False
    cell: str = "Dense"
    deep: bool = False
    columns: int = 0
    known: bool = False
    covariates: int = 0
    reserved: bool = False
    prompts: tuple[int, ...] = (1,)
    steps: int = 3
    seed: int = 0

    def __repr__(self) -> str:
        return f"rollouts.{written(self)}"


def draw(number: int) -> Case:
    """Return the case of a number."""
    rng = random.Random(number)
    writes, stateful = rng.random() < 0.5, rng.random() < 0.4
    several = rng.choice([1, 2, 3])
    case = Case(
        writes,
        mode="windows" if stateful else rng.choice(["windows", "prefixes"]),
        layout=rng.choice(["timesteps", "features", "tokens"] if writes else ["timesteps"]),
        length=rng.randint(1, 4),
        horizon=rng.choice([1, 1, 2, 3]),
        gap=rng.choice([0, 0, 0, 1, 2]),
        return_sequences=rng.random() < 0.25,
        rows=rng.randint(1, 3) if stateful else None,
        cell=rng.choice([*CELLS] if stateful else [*CELLS, "Dense"]),
        deep=rng.random() < 0.25,
        prompts=tuple(rng.randint(0, 12) for _ in range(several)),
        steps=rng.randint(1, 9),
        seed=number,
    )
    if writes:
        case = replace(case, reserved=rng.random() < 0.3)
    else:
        case = replace(
            case, columns=rng.choice([0, 1, 2, 3]), layout=rng.choice(["timesteps", "features"])
        )
        plain = not (stateful or case.return_sequences)
        if plain and rng.random() < 0.3:
            case = replace(case, covariates=rng.randint(1, 2))
        elif case.columns > 1 and rng.random() < 0.4:
            case = replace(case, known=True)
    if case.mode == "windows" and not stateful:
        case = replace(case, rate=rng.choice([1, 1, 2]), pads=rng.random() < 0.3)
    if case.mode == "prefixes" or case.pads:
        values = [0, 1] if writes else [0, -1, 0.5]
        case = replace(case, padding=rng.choice(["pre", "post"]), padding_value=rng.choice(values))
    if case.cell == "Dense" and case.layout != "tokens" and rng.random() < 0.5:
        case = replace(case, layout="flat")
    if case.layout == "features" or case.cell == "Dense":
        case = replace(case, return_sequences=False)
    if case.gap and (case.covariates or case.known):
        # To roll on, a model would need the covariates of the gap.
        case = replace(case, steps=min(case.steps, case.horizon))
    can_step = case.layout != "features" and case.cell != "Dense" and case.mode == "windows"
    if can_step and not (stateful or case.covariates or case.pads) and rng.random() < 0.5:
        case = replace(case, stepped=True, rate=1)
    return case


def kinds(case: Case) -> Iterator[str]:
    """Yield what a case is counted as."""
    yield "symbols" if case.writes else "values"
    yield f"{'stateful' if case.rows else 'stateless'} {case.cell}"
    yield f"mode: {case.mode}"
    yield f"layout: {case.layout}"
    named = {
        "horizon above 1": case.horizon > 1,
        "gap above 0": case.gap > 0,
        "sampling_rate above 1": case.rate > 1,
        "return_sequences": case.return_sequences,
        "padding: post": case.padding == "post",
        "padded windows": case.pads,
        "several prompts": len(case.prompts) > 1,
        "columns from `future`": case.known,
        "covariates": case.covariates > 0,
        "stateful=True": case.stepped,
    }
    yield from (name for name, is_so in named.items() if is_so)


def simpler(case: Case) -> Iterator[Case]:
    """Yield cases with one thing less."""
    plain = Case()
    for each in fields(case):
        if getattr(case, each.name) != getattr(plain, each.name) and each.name != "seed":
            yield replace(case, **{each.name: getattr(plain, each.name)})


# --- The network.


def vocabulary_of(case: Case) -> Vocabulary | None:
    return Vocabulary(SYMBOLS, reserve_padding=case.reserved) if case.writes else None


def framer_of(case: Case) -> SequenceFramer:
    options: dict[str, Any] = {"sampling_rate": case.rate}
    if case.mode == "prefixes":
        del options["sampling_rate"]
    if case.mode == "prefixes" or case.pads:
        options |= {"padding": case.padding, "padding_value": case.padding_value}
    if case.pads:
        options["min_length"] = 1
    return SequenceFramer(
        case.length,
        mode=case.mode,
        layout=case.layout,
        horizon=case.horizon,
        gap=case.gap,
        return_sequences=case.return_sequences,
        vocabulary=vocabulary_of(case),
        **options,
    )


def predicted(case: Case) -> int:
    """Return the outputs of a step."""
    if case.writes:
        return len(SYMBOLS) + case.reserved
    return max(case.columns, 1) - case.known


def network(case: Case) -> keras.Model:
    """Return the drawn network, with weights that are the same every time."""
    features = max(case.columns, 1)
    # What is run step by step takes any number of steps, so that a loop may show it one, or all.
    length: int | None = None if case.rows or case.stepped else case.length
    shape: tuple[int | None, ...] = {
        "timesteps": (length, features),
        "features": (1, case.length * features),
        "tokens": (length,),
        "flat": (case.length * features,),
    }[case.layout]
    past = keras.Input(shape, batch_size=case.rows, name="past")
    x = past
    if case.layout == "tokens":
        x = layers.Embedding(predicted(case), 3)(x)
    if case.cell == "Dense":
        x = layers.Dense(4, activation="tanh")(layers.Flatten()(x))
    else:
        cell, stateful = CELLS[case.cell], case.rows is not None
        if case.deep:
            x = cell(3, return_sequences=True, stateful=stateful)(x)
        x = cell(4, return_sequences=case.return_sequences, stateful=stateful)(x)
    inputs: Any = past
    if case.covariates:
        ahead = keras.Input((case.horizon, case.covariates), name="future")
        inputs = {"past": past, "future": ahead}
        x = layers.Concatenate()([x, layers.Flatten()(ahead)])
    x = layers.Dense(case.horizon * predicted(case), use_bias=False)(x)
    if case.horizon > 1:
        each = (-1,) if case.return_sequences else ()
        columns = (predicted(case),) if case.writes or case.columns else ()
        x = layers.Reshape((*each, case.horizon, *columns))(x)
    # Symbols vary with large weights, values stay small with small ones.
    return seeded(keras.Model(inputs, x), scale=2 if case.writes else 0.4, seed=case.seed)


# --- The plain loop.


def numpy_of(model: keras.Model, x: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(model(x, training=False)))


def as_input(case: Case, x: np.ndarray) -> np.ndarray:
    """Return the steps of one input as a batch of one."""
    if case.layout == "tokens":
        return x[None].astype("int32")
    x = x.astype("float32")
    if case.layout == "flat":
        return x.reshape(1, -1)
    return x.reshape(1, 1, -1) if case.layout == "features" else x.reshape(1, len(x), -1)


def window(case: Case, known: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the input that ends with the last of `known`, and the place of this step in it."""
    last = len(known) - 1
    steps = [last - case.rate * k for k in reversed(range(case.length))]
    assert steps[0] >= 0 or case.pads or case.mode == "prefixes"
    x = known[[step for step in steps if step >= 0]]
    real = len(x)
    filling = np.full((case.length - real, *x.shape[1:]), case.padding_value, x.dtype)
    if case.padding == "pre":
        return np.concatenate([filling, x]), case.length - 1
    return np.concatenate([x, filling]), real - 1


def outputs_of(case: Case, model: keras.Model, known: list[Any], future: Any) -> Iterator[Any]:
    """Yield the network's outputs for the targets that begin after the last of `known`."""
    fed = 0
    if case.rows:
        reset_states(model)
    while True:
        due = len(known) - case.gap  # the last input step is `gap` steps before
        seen = np.array(known[:due])
        if case.rows:
            # Every step that it has not seen, one after the other. All its rows see the same.
            width = case.length if case.layout == "features" else 1
            for stop in range(max(fed + 1, width), due + 1):
                x = as_input(case, seen[stop - width : stop])
                output = numpy_of(model, np.repeat(x, case.rows, axis=0))[0]
                fed = stop
            place = 0
        else:
            steps, place = (seen, -1) if case.stepped else window(case, seen)
            x = as_input(case, steps)
            if future is not None and case.covariates:
                first = len(known)
                x = {"past": x, "future": future[None, first : first + case.horizon]}
            output = numpy_of(model, x)[0]
        yield output[place] if case.return_sequences else output


def _between(case: Case, model: keras.Model, prompt: np.ndarray, future: Any) -> list[Any]:
    """Return the steps of the gap: older windows predict them. A single block reads none."""
    if case.steps <= case.horizon:
        return [np.full(np.shape(prompt)[1:], np.nan, "float32")] * case.gap
    known = list(prompt)
    for output in outputs_of(case, model, known, future):
        for step in np.reshape(output, (case.horizon, -1)):
            known.append(step.reshape(np.shape(prompt)[1:]).astype("float32"))
        if len(known) >= len(prompt) + case.gap:
            return known[len(prompt) : len(prompt) + case.gap]
    raise AssertionError


def naive(
    case: Case, model: keras.Model, prompt: np.ndarray, future: Any
) -> tuple[np.ndarray, int]:
    """Return the steps that a plain loop predicts, and how many of them are certain.

    Two programs of one network may choose different symbols if both are nearly as likely.
    """
    known = list(prompt)
    if case.gap and not case.writes:
        known += _between(case, model, prompt, future)
    begin, certain = len(known), case.steps
    for output in outputs_of(case, model, known, future):
        for step in np.reshape(output, (case.horizon, -1)):
            if case.writes:
                step = np.where(np.arange(len(step)) < case.reserved, -np.inf, step)
                best, second = np.sort(step)[::-1][:2]
                if best - second < 100 * CLOSE:
                    certain = min(certain, len(known) - begin)
                known.append(np.argmax(step).astype("int32"))
            else:
                row = step if not case.known else np.append(step, future[len(known)])
                known.append(row.reshape(np.shape(prompt)[1:]).astype("float32"))
        if len(known) >= begin + case.steps:
            return np.array(known[begin : begin + case.steps]), certain
    raise AssertionError


# --- Comparing.


def least(case: Case) -> int:
    """Return the steps that a prompt needs."""
    width = case.rate * (case.length - 1) + 1
    if case.stepped or (case.rows and case.layout != "features"):
        width = 1
    return (1 if case.mode == "prefixes" or case.pads else width) + case.gap


def check(case: Case) -> list[str]:
    """Raise unless a rollout equals the plain loop. Return what was compared."""
    model, rng = network(case), np.random.default_rng(case.seed)
    lengths = [least(case) + more for more in case.prompts]
    stateful = True if case.stepped else None
    generator = Generator(model, framer_of(case), targets=_targets(case), stateful=stateful)
    if case.writes:
        return _check_symbols(case, model, generator, lengths, rng)
    histories, futures = [], []
    for length in lengths:
        row = (case.columns,) if case.columns else ()
        histories.append(rng.normal(size=(length, *row)).astype("float32"))
        whole = length + case.gap + case.steps + case.horizon
        futures.append(rng.normal(size=(whole, case.covariates or 1)).astype("float32"))
    expected = [
        naive(case, model, history, future)[0]
        for history, future in zip(histories, futures, strict=True)
    ]
    arguments: dict[str, Any] = {}
    if case.covariates or case.known:
        ahead = -(-case.steps // case.horizon) * case.horizon
        firsts = [length + case.gap for length in lengths]
        given = [f[n : n + ahead] for f, n in zip(futures, firsts, strict=True)]
        arguments["future"] = given
    found = generator.forecast(histories, case.steps, **arguments)
    alone = {name: value[0] for name, value in arguments.items()}
    found = [*found, generator.forecast(histories[0], case.steps, **alone)]
    for forecast, wanted in zip(found, [*expected, expected[0]], strict=True):
        wanted = wanted[..., :-1] if case.known else wanted
        if forecast.shape != wanted.shape or not np.allclose(
            forecast, wanted, rtol=CLOSE, atol=CLOSE
        ):
            raise laws.WrongAnswerError(f"{forecast.tolist()} instead of {wanted.tolist()}")
    return ["forecasts"] * len(found)


def _targets(case: Case) -> list[int] | None:
    return list(range(case.columns - 1)) if case.known else None


def _check_symbols(
    case: Case,
    model: keras.Model,
    generator: Generator,
    lengths: list[int],
    rng: np.random.Generator,
) -> list[str]:
    letters = ["".join(rng.choice(list(SYMBOLS), length)) for length in lengths]
    vocabulary = generator.framer.vocabulary
    expected, texts = [], []
    for text in letters:
        ids, certain = naive(case, model, vocabulary.encode(text), None)
        expected.append(vocabulary.decode(ids)[:certain])
    texts = generator.generate(letters, case.steps)
    texts = [*texts, generator.generate(letters[0], case.steps)]
    texts.append("".join(generator.stream(letters[0], case.steps)))
    whole = case.steps // 2 // case.horizon * case.horizon
    if whole:  # the same in two calls, the first of whole horizons
        first, state = generator.generate(letters[0], whole, return_state=True)
        rest = generator.generate("", case.steps - len(first), state=state)
        texts.append(first + rest)
    else:
        texts.append(texts[0])
    for text, wanted in zip(texts, [*expected, *expected[:1] * 3], strict=True):
        if len(text) != case.steps or not text.startswith(wanted):
            raise laws.WrongAnswerError(f"{text!r} instead of {wanted!r}")
    return ["texts"] * len(texts)
