"""TensorFlow: programs are `tf.function`s, compiled with XLA if it can."""

import logging
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from seqframe.aliases import JitCompile
from seqframe.backend import common
from seqframe.backend.common import (
    Form,
    Given,
    PureFunction,
    SizeCheck,
    Traits,
    averages_rows,
    batch_size_of,
    by_row,
    checked_batch,
    first_batch,
    named_outputs,
    scalars,
    share_of,
)
from seqframe.backend.internals import build_for_training, counted_rows, equal_batches, replaced
from seqframe.backend.interrupts import PutOff
from seqframe.backend.locks import between_calls
from seqframe.backend.tf_sharing import shared

logger = logging.getLogger("seqframe")

# XLA's answers to an operation that it has no kernel for.
XLA_REFUSALS = (
    tf.errors.InvalidArgumentError,
    tf.errors.UnimplementedError,
    tf.errors.NotFoundError,
    tf.errors.InternalError,
)
_BATCH_SIZE_CHECK = "seqframe_batch_size"  # the operation's name, which its error repeats


def compile_program(function: Callable[..., Any], xla: JitCompile = "auto") -> Callable[..., Any]:
    """Return a function of tensors as one program.

    Args:
        function: function of tensors.
        xla: "auto": compiled with XLA. If XLA refuses, the program becomes a graph, and a log line
            says why. True: with XLA, or an error. False: a graph.

    With XLA, functions that compute the same from their arguments are compiled once.
    """
    # TensorFlow warns if one piece of code is traced often, even for different models. A partial
    # is counted by itself.
    function = partial(function)
    graph = tf.function(function, autograph=False)
    if not xla:
        return graph
    compiled = tf.function(function, autograph=False, jit_compile=True)
    programs: dict[Any, Any] = {}  # the shared one for each traced one
    refused = False

    def run(*args: Any) -> Any:
        nonlocal refused
        if refused:
            return graph(*args)
        try:
            _refuse_strings(args)
            traced = compiled.get_concrete_function(*args)
            if traced not in programs:
                programs[traced] = shared(traced)
            return programs[traced](*args)
        except XLA_REFUSALS as error:
            if xla != "auto":
                raise
            _log_refusal(error)
            refused = True
            return graph(*args)

    return run


def _log_refusal(error: Exception) -> None:
    reason = str(error).strip().split("\n")[0][:300]
    logger.warning("XLA cannot compile this program; it runs as a graph. Reason: %s", reason)


def _refuse_strings(args: Any) -> None:
    """Raise for strings: XLA would end the process."""
    if any(getattr(item, "dtype", None) == tf.string for item in tree.flatten(args)):
        raise tf.errors.InvalidArgumentError(None, None, "It is given strings.")


# A graph takes batches of any size and is traced as fast as Keras's own. XLA saves the time of many
# small operations, but takes longer to compile. If it compiles single steps, a loop around them
# calls each. If it compiles the whole loop, there are no calls, but convolutions run on one thread
# of a CPU.
_GRAPH, _XLA_STEPS, _XLA_LOOP = Form(True, False), Form(False, True), Form(True, True)
FORMS = (_GRAPH, _XLA_STEPS, _XLA_LOOP)
#: How many times as long as the first form it takes to compile each form, about.
COMPILATION = {_GRAPH: 1.0, _XLA_STEPS: 3.0, _XLA_LOOP: 3.0}

_LONG_ENOUGH = 1_000  # steps from which a network with some dropout is compiled with XLA
_LONG_RUN = 20_000  # steps from which a recurrent network is compiled with XLA at once
_SAVED = 0.6  # of a step that XLA saves, at best
_CALL = 0.4e-3  # seconds that a graph needs to call a program of XLA


def promising(known: Traits, forms: list[Form], steps: int, trains: bool) -> list[Form]:
    """Return the forms that may be fastest for a model. The first one is tried first."""
    if known.needs_no_xla and (not known.recurrent or tf.config.list_physical_devices("GPU")):
        best = [_GRAPH]  # XLA has no cuDNN kernels, which are faster on a GPU
    elif trains and known.draws:
        # With XLA it draws other numbers. So the clock must not decide, or the same seed would not
        # give the same result. On a CPU, Keras by itself never uses XLA.
        pays = steps >= _LONG_ENOUGH and not known.draws_much
        best = [_XLA_STEPS if pays else _GRAPH]
    elif known.convolves:
        best = [_GRAPH, _XLA_STEPS]
    elif known.recurrent and steps >= _LONG_RUN:
        best = [_XLA_LOOP]
    else:
        best = [_GRAPH, _XLA_LOOP, _XLA_STEPS]
    return [form for form in best if form in forms] or forms


def may_save(form: Form, seconds: float) -> float:
    """Return how many seconds of a step a form may save, at best."""
    return _SAVED * seconds - (_CALL if form == _XLA_STEPS else 0.0)


class StepLoop(common.StepLoop):
    """Many steps of a model's own step, over several epochs, in one form."""

    def _compile(self) -> None:
        self._programs: dict[Any, Callable[..., Any]] = {}  # by structure, and by shapes if fixed
        self._strategy = self._model.distribute_strategy if _is_distributed(self._model) else None
        self.compiles_ahead = self.form != _XLA_STEPS  # XLA compiles a step when it is called

    def run(
        self, given: Given, first: int, steps: int, epochs: int, fresh: bool
    ) -> dict[str, np.ndarray]:
        if self._strategy is not None and self.form.xla:
            told = "A distribution strategy shares each batch, which takes a graph."
            raise tf.errors.UnimplementedError(None, None, told)
        if self._strategy is not None:
            # The host keeps the arrays: a device would copy whole arrays that another one holds.
            with tf.device("CPU:0"):
                given = tree.map_structure(tf.identity, given[0]), *given[1:]
        if not self._is_built:
            with scope(self._model):
                build_for_training(self._model, first_batch(self._gather, given))
            self._is_built = True
        program, flat = self._program(given), tree.flatten(given)
        # An interruption that comes inside may meet a callback of the garbage collector, where
        # Python ignores it. So it waits for the end.
        with PutOff():
            logs = program(*scalars(first, steps, epochs), tf.constant(fresh), *flat)
            return {name: value[:epochs].numpy() for name, value in logs.items()}

    def _program(self, given: Given) -> Callable[..., Any]:
        """Return the traced program for tensors of these shapes."""
        if self.form.xla:
            _refuse_strings(given)
        specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in tree.flatten(given)]
        if not self.form.xla and self._strategy is None:
            specs = self._any_length(given)
        paths = tuple(path for path, _ in tree.flatten_with_path(given))
        key = (paths, tuple(specs))
        if key not in self._programs:

            def function(*args: Any) -> Any:
                return self._loop(tree.pack_sequence_as(given, list(args[4:])), *args[:4])

            numbers = [tf.TensorSpec((), tf.int32)] * 3 + [tf.TensorSpec((), tf.bool)]
            program = tf.function(
                function,
                autograph=False,
                jit_compile=self.form.loop and self.form.xla,
                input_signature=[*numbers, *specs],
            )
            with PutOff():  # TensorFlow would raise a SystemError instead
                self._programs[key] = program.get_concrete_function()
        return self._programs[key]

    def _any_length(self, given: Given) -> list[Any]:
        """Return specs of tensors with any number of frames and steps, and of rows if stateless."""

        def any_rows(tensor: Any) -> Any:
            return tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype)

        def any_batch(column: Any) -> Any:
            size = column.shape[1] if self._states else None
            return tf.TensorSpec((None, size, *column.shape[2:]), column.dtype)

        arrays, schedule, initial = given
        return tree.flatten(
            (
                tree.map_structure(any_rows, arrays),
                tree.map_structure(any_batch, schedule),
                tree.map_structure(lambda value: tf.TensorSpec(value.shape, value.dtype), initial),
            )
        )

    def _loop(self, given: Given, first: Any, steps: Any, epochs: Any, fresh: Any) -> Any:
        arrays, schedule, initial = given
        one_step = self._trace_step(given)
        capacity, batch_size = tf.unstack(tf.shape(tree.flatten(schedule)[0])[:2])

        def zeros(spec: Any, *axes: Any) -> Any:
            shape = [batch_size if length is None else length for length in spec.shape]
            return tf.zeros((*axes, *shape), spec.dtype)

        specs = one_step.structured_outputs
        nothing = tree.map_structure(zeros, specs)
        records = tree.map_structure(lambda spec: zeros(spec, capacity), specs)

        def epoch(number: Any, records: Any) -> Any:
            begin = first + number * steps
            if self.compiles_ahead:
                self._reset_metrics(fresh)

            def step(k: Any, _: Any) -> Any:
                row = tree.map_structure(lambda column: column[k], schedule)
                return k + 1, one_step(fresh & (k == begin), *tree.flatten((arrays, row, initial)))

            end, logs = tf.while_loop(lambda k, _: k < begin + steps, step, (begin, nothing))
            logs = self._whole_logs(end, logs)
            records = tree.map_structure(
                lambda record, log: tf.tensor_scatter_nd_update(record, [[number]], [log]),
                records,
                logs,
            )
            return number + 1, records

        _, records = tf.while_loop(
            lambda number, _: number < epochs, epoch, (tf.constant(0), records)
        )
        return records

    def _trace_step(self, given: Given) -> Any:
        """Trace one step as a function of its own, to know what it returns before it is looped."""
        arrays, schedule, initial = given
        structure = (arrays, tree.map_structure(lambda column: column[0], schedule), initial)

        def one_step(fresh: Any, *flat: Any) -> Any:
            if not self.compiles_ahead:
                # Inside of the step, so that nothing is changed if XLA refuses it.
                self._reset_metrics(fresh)
            return self._one(*tree.pack_sequence_as(structure, list(flat)))

        flags = [tf.TensorSpec((), tf.bool)]
        specs = [*flags, *(tf.TensorSpec(t.shape, t.dtype) for t in tree.flatten(structure))]
        compiled = self.form.xla and not self.form.loop
        traced = tf.function(one_step, autograph=False, jit_compile=compiled)
        return traced.get_concrete_function(*specs)

    def _one(self, arrays: Any, row: Any, initial: Any) -> Any:
        if self._strategy is None:
            return self._one_alone(arrays, row, initial)
        count = self._strategy.num_replicas_in_sync
        shares = [share_of(row, number, count) for number in range(count)]

        def number() -> int:
            return int(tf.get_static_value(_replica().replica_id_in_sync_group))

        def rows() -> Any:
            own, size = shares[number()]
            return None if size else own["weight"]

        total, optimizer = sum(size for _, size in shares), getattr(self._model, "optimizer", None)
        apply: Any = getattr(optimizer, "apply", None)

        def weighed(gradients: Any, variables: Any = None) -> Any:
            # Keras takes the mean over the devices. Those with more rows count for more.
            weight = shares[number()][1] * count / total
            weighed = [each if each is None else each * weight for each in gradients]
            return apply(weighed, variables)

        with ExitStack() as stack:
            if self._kind != "predict" and not all(size for _, size in shares):
                stack.enter_context(counted_rows(self._model, rows, self._gather.frame_weight))
            if self._kind == "train" and total % count and averages_rows(self._model):
                stack.enter_context(replaced(optimizer, apply=weighed))
            found = self._strategy.run(
                lambda: self._one_alone(arrays, shares[number()][0], initial)
            )
        each = [self._strategy.experimental_local_results(log) for log in tree.flatten(found)]
        if self._kind == "predict":
            own = [
                tf.concat([log[:size] for log, (_, size) in zip(logs, shares, strict=True)], 0)
                for logs in each
            ]
        else:
            own = [tf.reduce_mean(logs, axis=0) for logs in each]
        return tree.pack_sequence_as(found, own)

    def _whole_logs(self, end: Any, logs: Any) -> Any:
        """Return the logs of a last step; of metrics on several devices, those of all together."""
        if self._strategy is None or self._kind == "predict":
            return logs
        with tf.control_dependencies([end]):
            together = self._model.get_metrics_result()
        return together if together.keys() == logs.keys() else logs

    def _one_alone(self, arrays: Any, row: Any, initial: Any) -> Any:
        if "reset" in row:
            for variable, value in zip(self._states, initial, strict=True):
                mask = by_row(row["reset"], variable)
                variable.assign(tf.where(mask, value, variable.value))
        with nullcontext() if self._strategy is None else tf.device("CPU:0"):
            batch = self._gather.batch(arrays, row)
        return self._step_of_row(row, batch)

    def _step_of_row(self, row: Any, *args: Any) -> Any:
        with equal_batches(self._model):
            return super()._step_of_row(row, *args)

    def _predict(self, data: Any) -> Any:
        self.outputs, logs = named_outputs(self._model.predict_step(data))
        batch_size = tree.flatten(data)[0].shape[0]
        # The batch size is known, but an operation of the model may have lost it.
        return {
            name: tf.ensure_shape(log, (batch_size, *log.shape[1:])) for name, log in logs.items()
        }

    def _reset_metrics(self, fresh: Any) -> None:
        def reset() -> Any:
            if self._strategy is None:
                self._model.reset_metrics()
            else:
                self._strategy.run(self._model.reset_metrics)
            return tf.constant(True)

        if self._kind != "predict":
            tf.cond(fresh, reset, lambda: tf.constant(True))


class SteppedProgram(common.SteppedProgram):
    """A function that reads and assigns variables, as one program that is called again and again.

    Variables are read and assigned where they are, which takes less than to pass them.
    """

    def __init__(self, step: common.OnVariables, examples: list[np.ndarray], is_fixed: bool):
        self._assigns, call = step.assigns, PureFunction(*step)

        def assigning(*arguments: Any) -> Any:
            result, after = call([], [], self.values, *arguments)
            self.values = after
            return result

        tensors, fresh = [tf.constant(each) for each in examples], self.values
        for xla in True, False:
            # A concrete function is called faster. It takes tensors only.
            program = tf.function(partial(assigning), autograph=False, jit_compile=xla)
            with PutOff():
                self._step = program.get_concrete_function(*tensors)
                try:
                    self._step(*tensors)
                    break
                except XLA_REFUSALS as error:
                    if not xla:
                        raise
                    _log_refusal(error)
        self.values = fresh

    @property
    def values(self) -> list[Any]:
        return values_of(self._assigns)

    @values.setter
    def values(self, values: list[Any]) -> None:
        for variable, value in zip(self._assigns, values, strict=True):
            variable.assign(value)

    def __call__(self, *arguments: np.ndarray) -> np.ndarray:
        tensors = [tf.constant(each) for each in arguments]
        result: np.ndarray = between_calls(lambda: self._step(*tensors)).numpy()
        return result


def values_of(variables: list[Any]) -> list[Any]:
    """Return the present values of variables, for a `PureFunction` to read."""
    return [tf.convert_to_tensor(variable.value) for variable in variables]


def threshold(values: Any, weights: Any, amount: Any) -> Any:
    """Return the largest value of each row at which the weights from it on reach `amount`."""
    on_cpu = not tf.config.list_physical_devices("GPU")
    return (common.threshold if on_cpu else common.sorted_threshold)(values, weights, amount)


def finish(tensors: Any) -> None:
    """Wait until tensors are computed."""
    if tf.config.list_physical_devices("GPU"):
        tf.experimental.sync_devices()


def likeliest(logits: Any, none: int) -> Any:
    """Return the id of each row's largest logit; -1 if one is NaN, and `none` if all are -inf.

    On a CPU, the maximum by XLA passes over NaN. So NaN is looked for by itself.
    """
    found = common.likeliest(logits, none)
    return tf.where(tf.reduce_any(tf.math.is_nan(logits), axis=-1), -1, found)


def _replica() -> Any:
    return tf.distribute.get_replica_context()


def _is_distributed(model: keras.Model) -> bool:
    """Whether a model is under a distribution strategy of TensorFlow."""
    default = not tf.distribute.has_strategy()
    return not default or model.distribute_strategy is not tf.distribute.get_strategy()


def needs_keras_loop(model: keras.Model) -> bool:
    """Whether a model is under a strategy whose devices are not all of this machine's own."""
    ours = (tf.distribute.MirroredStrategy, tf.distribute.OneDeviceStrategy)
    return _is_distributed(model) and not isinstance(model.distribute_strategy, ours)


def scope(model: keras.Model) -> AbstractContextManager[Any]:
    """Return a context in which a model's strategy makes its variables."""
    return model.distribute_strategy.scope() if _is_distributed(model) else nullcontext()


_PROCESSES = (
    tf.distribute.MultiWorkerMirroredStrategy,
    tf.distribute.ParameterServerStrategy,
    tf.distribute.experimental.ParameterServerStrategy,
)


def check_processes(model: keras.Model, kind: str, is_stateful: bool, by_keras: str | None) -> None:
    """Raise if the devices of a model's strategy cannot share its batches."""
    strategy = model.distribute_strategy
    if isinstance(strategy, _PROCESSES):
        raise ValueError(
            "Keras trains in several processes under JAX only, by `keras.distribution`. Received: "
            f"a model under a {type(strategy).__name__}. Set KERAS_BACKEND=jax, or use "
            "`tf.distribute.MirroredStrategy` on one machine."
        )
    if is_stateful and strategy.num_replicas_in_sync > 1:
        raise ValueError(
            "A stateful model keeps one state of whole batches. Received: a strategy of "
            f"{strategy.num_replicas_in_sync} replicas, which share a batch. Train it on one "
            "device."
        )


def to_device(value: Any) -> Any:
    """Return a nest of NumPy arrays as tensors with memory of their own."""
    # TensorFlow takes over the memory of an aligned array, and may write into it.
    return tree.map_structure(lambda array: tf.convert_to_tensor(np.array(array)), value)


def give_to_device(value: Any, batch_size: int) -> Any:
    """Return a nest of NumPy arrays, which nobody else has, as tensors."""
    return tree.map_structure(tf.convert_to_tensor, value)


def to_host(tensor: Any) -> np.ndarray:
    """Return a tensor or a variable as a NumPy array; of metrics on several devices their sum."""
    return np.array(tf.convert_to_tensor(tensor))


def carried_states(model: keras.Model, layers: list[Any]) -> AbstractContextManager[None]:
    """Do nothing: under TensorFlow stateful layers keep their state."""
    return nullcontext()


def checked_function(model: keras.Model, kind: str, check: SizeCheck) -> Any:
    """Return Keras's train, test or predict function with a check of each batch's size."""
    if kind == "predict":
        plain = model.predict_function
        return lambda data: plain([checked_batch(batch, check) for batch in data])
    # The others take their batches inside the graph, so the check becomes part of the step.
    is_set, own = f"{kind}_step" in vars(model), getattr(model, f"{kind}_step")

    def checked_step(*args: Any) -> Any:
        (data,) = args
        received, expected = batch_size_of(data), check(batch_size_of(data))
        if expected is None or received is not None:
            return own(data)
        # A stateful layer needs the size, so the graph has it, and checks it at run time.
        data = tree.map_structure(
            lambda item: (
                None
                if item is None
                else tf.ensure_shape(item, (expected, *item.shape[1:]), name=_BATCH_SIZE_CHECK)
            ),
            data,
        )
        # Nothing of the step, not even its counter, may run before the check has passed.
        with tf.control_dependencies([item for item in tree.flatten(data) if item is not None]):
            return own(data)

    # Keras makes its function of the step that the model has at that moment.
    setattr(model, f"{kind}_step", checked_step)
    try:
        getattr(model, f"make_{kind}_function")(force=True)
    finally:
        if is_set:
            setattr(model, f"{kind}_step", own)
        else:
            delattr(model, f"{kind}_step")
    made = getattr(model, f"{kind}_function")

    def checked(*args: Any) -> Any:
        try:
            return made(*args)
        except tf.errors.InvalidArgumentError as error:
            found = re.search(r"\[(\d+)[^\]]*\] is not compatible", str(error))
            if not found or _BATCH_SIZE_CHECK not in str(error):
                raise
        return check(int(found.group(1)))  # raises

    return checked
