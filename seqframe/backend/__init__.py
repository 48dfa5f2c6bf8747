"""The few functions that differ by Keras backend, chosen once.

Each backend's module has the same names with the same meanings:

- `StepLoop`: many steps of a model's own `train_step` or `test_step` in one program;
- `compile_program`: a function of tensors as one compiled program;
- `to_device`: NumPy arrays as tensors;
- `with_batch_size`, `batch_size_errors`: a check of batches whose size is known only when they run.

Everything else in seqframe is written in `keras.ops`.
"""

from importlib import import_module

import keras

_SUPPORTED = ("tensorflow",)

name = keras.backend.backend()
if name not in _SUPPORTED:
    raise ImportError(
        f"seqframe trains and rolls out under the Keras backends {_SUPPORTED}. Received: "
        f"keras.backend.backend()={name!r}. Set the environment variable KERAS_BACKEND before "
        "Keras is imported."
    )

_module = import_module(f"seqframe.backend.{name}")
StepLoop = _module.StepLoop
compile_program = _module.compile_program
to_device = _module.to_device
with_batch_size = _module.with_batch_size
batch_size_errors = _module.batch_size_errors
