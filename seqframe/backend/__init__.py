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

_SUPPORTED = ("tensorflow", "jax", "torch")

name = keras.backend.backend()
if name not in _SUPPORTED:
    raise ImportError(
        f"seqframe trains and rolls out under the Keras backends {_SUPPORTED}. Received: "
        f"keras.backend.backend()={name!r}. Set the environment variable KERAS_BACKEND before "
        "Keras is imported."
    )

_module = import_module(f"seqframe.backend.{name}")
PureFunction = _module.PureFunction
StepLoop = _module.StepLoop
call_with_values = _module.call_with_values
carried_states = _module.carried_states
checked_function = _module.checked_function
compile_program = _module.compile_program
is_distributed = _module.is_distributed
lasting = _module.lasting
num_replicas = _module.num_replicas
read_steps = _module.read_steps
repeat = _module.repeat
scalars = _module.scalars
seed_of_step = _module.seed_of_step
seeded_draws = _module.seeded_draws
to_device = _module.to_device
traveling_values = _module.traveling_values
values_kept = _module.values_kept
write_steps = _module.write_steps
