"""The few functions that differ by Keras backend, chosen once.

Each backend's module has these names, with the same meanings:

- `StepLoop`: many of a model's own training, test or predict steps, in one of the `FORMS`;
- `traits`, `promising`, `may_save`, `COMPILATION`: which forms may be fast, save, and cost;
- `XLA_REFUSALS`: the errors of a model that XLA cannot compile;
- `compile_program`: a function of tensors as one compiled program;
- `to_device`, `operand`, `scalars`: convert NumPy arrays and integers for programs;
- `give_to_device`: the same for arrays that nobody else has, without a copy where that can be;
- `carried_states`: a context in which stateful layers keep their state, as Keras documents it;
- `compiles`: whether a model lets its steps be a program;
- `needs_keras_loop`: whether a strategy distributes a model so that only Keras's loop can run it;
- `scope`: a context in which a distributed model may make variables;
- `COMPILES_MESHES`: whether a program may run on the devices of a `keras.distribution`;
- `check_processes`, `check_shares`: raise if several devices or processes cannot share a model's
  batches, or fill them from shards;
- `agreed`, `by_process`, `from_first`, `is_first_process`, `spans_processes`, `own_rows`,
  `to_host`: processes that run one program together, the values that they have, and their data;
- `whole_metrics`, `own_metrics`: the metrics of all processes, and what one of them begins with;
- `joined`, `sharing`: contexts in which all processes train one model, and validate it;
- `values_kept`: a context in which a model keeps its values if one of Keras's loops raises;
- `SteppedProgram`: a function of `OnVariables` as one program that is called again and again;
- `PureFunction`, `call_with_values`, `values_of`: calls with other values of variables;
- `finish`: waits until tensors are computed;
- `random_state`, `set_random_state`: the backend's own generator of random numbers;
- `lasting`: a context whose tensors may be assigned outside of it;
- `repeat`, `read_steps`, `write_steps`, `seed_of_step`, `seeded_draws`, `random_bits`, `cast`,
  `likeliest`, `threshold`: the parts of a rollout;
- `COMPILES_ROLLOUTS`: whether another number of rows needs another program;
- `checked_function`: Keras's function of a model's step, with a check of each batch's size.
"""

from importlib import import_module
from typing import Any

import keras

from seqframe.backend import common

_SUPPORTED = ("tensorflow", "jax", "torch")

name = keras.backend.backend()
if name not in _SUPPORTED:
    raise ImportError(
        f"seqframe trains and rolls out under the Keras backends {_SUPPORTED}. Received: "
        f"keras.backend.backend()={name!r}. Set the environment variable KERAS_BACKEND before "
        "Keras is imported."
    )

_own = import_module(f"seqframe.backend.{name}")


def __getattr__(part: str) -> Any:
    """Return a part of this backend, or the shared one."""
    return getattr(_own, part) if hasattr(_own, part) else getattr(common, part)
