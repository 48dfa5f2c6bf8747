"""The few functions that differ by Keras backend, chosen once.

Each backend's module has these names, with the same meanings:

- `StepLoop`: many of a model's own training, test or predict steps in one program;
- `compile_program`: a function of tensors as one compiled program;
- `to_device`, `scalars`: NumPy arrays and integers as programs take them;
- `carried_states`: a context in which stateful layers keep their state, as Keras documents it;
- `is_distributed`, `num_replicas`: whether a strategy of the backend distributes a model, and over
  how many devices;
- `values_kept`: a context in which a model keeps its values if Keras's `evaluate` raises;
- `PureFunction`, `call_with_values`, `traveling_values`: calls with other values of variables;
- `lasting`: a context whose tensors may be assigned outside of it;
- `repeat`, `read_steps`, `write_steps`, `seed_of_step`, `seeded_draws`: the parts of a rollout;
- `checked_function`: Keras's function of a model's step, with a check of each batch's size.
"""

from importlib import import_module

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

# What a backend does not define itself is what several share.
_parts = {**vars(common), **vars(import_module(f"seqframe.backend.{name}"))}
PureFunction = _parts["PureFunction"]
StepLoop = _parts["StepLoop"]
call_with_values = _parts["call_with_values"]
carried_states = _parts["carried_states"]
checked_function = _parts["checked_function"]
compile_program = _parts["compile_program"]
is_distributed = _parts["is_distributed"]
lasting = _parts["lasting"]
num_replicas = _parts["num_replicas"]
read_steps = _parts["read_steps"]
repeat = _parts["repeat"]
scalars = _parts["scalars"]
seed_of_step = _parts["seed_of_step"]
seeded_draws = _parts["seeded_draws"]
to_device = _parts["to_device"]
traveling_values = _parts["traveling_values"]
values_kept = _parts["values_kept"]
write_steps = _parts["write_steps"]
