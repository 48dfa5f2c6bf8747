"""Names for the types that signatures repeat: choices, shapes, batches and states."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

Shape = tuple[int, ...]

#: Several integers.
Numbers = Sequence[int] | np.ndarray

#: `(x, y)`, or `(x, y, sample_weight)` if there are weights. With future covariates, `x` is a
#: dict of "past" and "future".
Batch = tuple[Any, ...]

Mode = Literal["windows", "prefixes", "subsequences"]
Layout = Literal["timesteps", "features", "tokens", "flat"]
Padding = Literal["pre", "post"]

#: Whether frames are shuffled: by blocks of neighbours, or one by one.
Shuffle = bool | Literal["blocks", "frames"]

#: Splits cut each sequence in time, or a list of sequences.
SplitBy = Literal["time", "sequences"]
FoldMode = Literal["expanding", "sliding", "kfold"]

Reset = Literal["epoch", "batch", "never"] | int
Verbose = Literal["auto", 0, 1, 2]
JitCompile = Literal["auto"] | bool
ProgramName = Literal["auto", "loop", "steps"]
#: Steps (int) or seconds (float).
SaveEvery = Literal["epoch"] | int | float

#: A model's recurrent states: for each stateful layer a list of arrays `(batch_size, …)`, nested
#: if its cells are stacked.
States = list[list[Any]]

SamplerName = Literal["greedy", "random", "top_k", "top_p", "beam"]
ExportKind = Literal["symbols", "values"]

#: Which frames: one, or several.
Index = int | slice | Sequence[int] | np.ndarray

#: Columns of a table, by name or position.
Columns = str | int | Sequence[str | int] | np.ndarray

#: A tensor of the current Keras backend, whose types a type checker cannot see.
Tensor = Any
