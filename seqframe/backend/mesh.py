"""Meshes: how the tensors of a JAX program lie on the devices of a `keras.distribution`.

Each device holds the frames and takes its rows of every batch. XLA adds the communication. It also
pads a batch that does not divide, and hides the padding: every result is that of the whole batch.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec, Sharding
from keras import ops, tree

from seqframe.backend.internals import replaced

_MASKS = ("get_dropout_mask", "get_recurrent_dropout_mask")  # of Keras's recurrent cells


class Mesh:
    """The devices of a distribution, which run one program together.

    Attributes:
        whole: the layout of a tensor that each device holds whole.
        devices: the numbers of the devices, in the mesh's order.
        spans_processes: whether several processes run the program together.
    """

    def __init__(self, distribution: Any):
        mesh = distribution.device_mesh.backend_mesh
        self._distribution, self._mesh = distribution, mesh
        self.whole = NamedSharding(mesh, PartitionSpec())
        self.devices = tuple(device.id for device in mesh.devices.flat)
        self.spans_processes = not self.whole.is_fully_addressable

    def rows(self, shape: tuple[int, ...], lead: int = 0) -> Sharding:
        """Return the layout of a batch, whose rows are shared out; after `lead` other axes."""
        batch = self._distribution.get_data_layout(shape[lead:]).backend_layout.spec
        return NamedSharding(self._mesh, PartitionSpec(*[None] * lead, *batch))

    def of_variable(self, variable: Any) -> Sharding:
        """Return the layout of a variable by the distribution."""
        return self._distribution.get_variable_layout(variable).backend_layout

    def put(self, value: Any, layout: Sharding | None = None, **given: Any) -> Any:
        """Return an array that every process has whole as one on the devices."""
        layout = self.whole if layout is None else layout
        if isinstance(value, jax.Array) and value.sharding.device_set == layout.device_set:
            return value
        if layout.is_fully_addressable:
            return jax.device_put(value, layout, **given)
        # `device_put` would compare the values of all processes first.
        value = np.asarray(value)
        return jax.make_array_from_callback(value.shape, layout, value.__getitem__)

    def put_block(self, block: np.ndarray, batch_size: int) -> Any:
        """Return batches `(steps, rows, …)` on the devices, from each process's own rows."""
        shape = (block.shape[0], batch_size, *block.shape[2:])
        if self._own_rows(batch_size) is None:
            if block.shape != shape:  # a last batch of shards
                block = np.concatenate(multihost_utils.process_allgather(block), axis=1)
            return self.put(block, may_alias=True)
        layout = self.rows(shape, lead=1)
        return jax.make_array_from_process_local_data(layout, block, shape)

    def own_rows(self, batch_size: int) -> slice:
        """Return the rows of a streamed batch that this process loads."""
        return self._own_rows(batch_size) or slice(None)

    def check_shares(self, batch_size: int) -> None:
        """Raise if the rows of a batch are not those of process 0, then of process 1, and so on."""
        layout, count = self.rows((batch_size,)), jax.process_count()
        share = batch_size // count

        def is_own(device: jax.Device, part: slice) -> bool:
            first, stop, _ = part.indices(batch_size)
            return (
                device.process_index * share <= first < stop <= (device.process_index + 1) * share
            )

        try:
            layout.shard_shape((batch_size,))
        except ValueError:  # they do not divide
            places = None
        else:
            places = layout.devices_indices_map((batch_size,))
        if places is None or not all(is_own(device, part) for device, (part,) in places.items()):
            raise ValueError(
                "Each process must have an equal part of the rows of a batch, because it feeds "
                f"them from its own shard. Received: a batch of {batch_size} on "
                f"{len(self.devices)} devices of {count} processes. Pass a `batch_size` that is a "
                "multiple of the number of devices, or the same whole frames in each process."
            )

    def _own_rows(self, batch_size: int) -> slice | None:
        """Return the rows on the devices of this process; None if the rows cannot be dealt out."""
        layout = self.rows((batch_size,))
        try:
            layout.shard_shape((batch_size,))
        except ValueError:  # they do not divide
            return None
        places = layout.addressable_devices_indices_map((batch_size,)).values()
        parts = {part.indices(batch_size)[:2] for (part,) in places}
        first, stop = min(part[0] for part in parts), max(part[1] for part in parts)
        is_joined = sum(end - begin for begin, end in parts) == stop - first
        return slice(first, stop) if is_joined else None

    def rows_apart(self, layers: list[keras.Layer]) -> ExitStack:
        """Let each device run recurrent layers on its own rows. Return the context.

        The gradients of their weights are then added up once a batch. XLA would add them up at each
        time step, because it does not know that rows are independent.
        """
        stack = ExitStack()
        for layer in layers:
            # A user's own cell may mix rows. JAX 0.6.0 has no `shard_map` yet.
            if isinstance(layer, keras.layers.RNN) and hasattr(jax, "shard_map"):
                cells = getattr(layer.cell, "cells", [layer.cell])
                if all(type(cell).__module__.startswith("keras.") for cell in cells):
                    loop = self._by_rows(layer.inner_loop, layer.cell, cells)
                    stack.enter_context(replaced(layer, inner_loop=loop))
        return stack

    def _by_rows(self, whole: Callable[..., Any], cell: Any, cells: list[Any]) -> Any:
        """Return the loop of a recurrent layer over time steps, with rows apart."""
        axis = self._distribution.batch_dim_name
        rows, shares = PartitionSpec(axis), self._mesh.shape[axis]
        drawing = [each for each in cells if hasattr(each, _MASKS[0])]

        def inner_loop(
            sequences: Any, initial_state: Any, mask: Any, training: bool = False
        ) -> tuple[Any, ...]:
            size = sequences.shape[0]

            def padded(batch: Any) -> Any:
                return jax.numpy.pad(batch, [(0, -size % shares), *[(0, 0)] * (batch.ndim - 1)])

            def on_device(values: list[Any], masks: Any, *batches: Any) -> Any:
                with ExitStack() as stack:
                    for each, given in zip(drawing, masks, strict=True):
                        getters = [lambda step, mask=mask: mask for mask in given]
                        own = dict(zip(_MASKS, getters, strict=True))
                        stack.enter_context(replaced(each, **own))
                    pairs = list(zip(cell.weights, values, strict=True))
                    stack.enter_context(keras.StatelessScope(pairs))
                    return whole(*batches, training=training)

            run = jax.shard_map(
                on_device,
                mesh=self._mesh,
                in_specs=(PartitionSpec(), *[rows] * 4),
                out_specs=rows,
                axis_names={axis},
                check_vma=False,  # Keras's loops begin with zeros that all devices share
            )
            # In full precision: XLA's compiler for CPUs aborts at a sum over devices in bfloat16.
            values = [ops.cast(weight, cell.variable_dtype) for weight in cell.weights]
            # The layer has drawn the masks of dropout before its loop.
            masks = [[_plain(getattr(each, name)(None)) for name in _MASKS] for each in drawing]
            batches = jax.tree.map(padded, (masks, sequences, initial_state, mask))
            return jax.tree.map(lambda batch: batch[:size], run(values, *batches))

        return inner_loop

    def share_rows(self, nest: Any) -> Any:
        """Share out the rows of a nest of batches inside a program."""
        return tree.map_structure(
            lambda batch: jax.lax.with_sharding_constraint(batch, self.rows(batch.shape)), nest
        )


def _plain(masks: Any) -> Any:
    """Return masks of dropout as JAX knows them: Keras keeps several in a list of its own kind."""
    return list(masks) if isinstance(masks, list) else masks


def current_mesh() -> Mesh | None:
    """Return the mesh of the distribution that is set; None without one."""
    distribution = keras.distribution.distribution()
    return None if distribution is None else Mesh(distribution)


def check_processes(model: keras.Model, kind: str, is_stateful: bool, by_keras: str | None) -> None:
    """Raise if several processes would each train a model of their own."""
    count, mesh = jax.process_count(), current_mesh()
    if count == 1 or kind != "train":
        return
    if mesh is None:
        raise ValueError(
            "Several JAX processes train one model only under a `keras.distribution`. Received: "
            f"none in a job of {count} processes. Call `keras.distribution.set_distribution("
            "keras.distribution.DataParallel())` before you make the model."
        )
    held = {device.process_index for device in mesh.whole.device_set}
    if len(held) not in (1, count) or jax.process_index() not in held:
        raise ValueError(
            "A `keras.distribution` must hold devices of all processes, or of its own process "
            f"only. Received: devices of the processes {sorted(held)} in process "
            f"{jax.process_index()} of {count}. Leave `devices` out."
        )


def check_shares(batch_size: int) -> None:
    """Raise if the processes' shards cannot fill equal parts of a batch."""
    mesh = current_mesh()
    if mesh is not None:
        mesh.check_shares(batch_size)


def spans_processes() -> bool:
    """Whether the distribution that is set lets several processes run one program."""
    mesh = current_mesh()
    return mesh is not None and mesh.spans_processes


def is_first_process() -> bool:
    """Whether this process writes the files of the processes that run one program."""
    return not spans_processes() or jax.process_index() == 0


def agreed(number: Any) -> Any:
    """Return a float, or an integer of 32 bits, as the first process has it."""
    if not spans_processes():
        return number
    kind = np.float32 if isinstance(number, float) else np.uint32
    return type(number)(multihost_utils.broadcast_one_to_all(kind(number)))


def by_process(numbers: list[int]) -> list[list[int]]:
    """Return integers of 32 bits as each process has them."""
    return multihost_utils.process_allgather(np.array(numbers, np.uint32)).tolist()


def to_host(value: Any) -> np.ndarray:
    """Return a tensor as a NumPy array, also if other processes hold parts of it."""
    if value.is_fully_addressable or value.is_fully_replicated:
        return np.asarray(value)
    return np.asarray(multihost_utils.process_allgather(value, tiled=True))
