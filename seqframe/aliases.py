"""Names for the types that signatures repeat: choices, and what is passed on from call to call."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

Shape = tuple[int, ...]

#: Several integers.
Numbers = Sequence[int] | np.ndarray

#: `(x, y)`, or `(x, y, sample_weight)` where there are weights; `x` is a dict of "past" and
#: "future" where values are known ahead.
Batch = tuple[Any, ...]

Mode = Literal["windows", "prefixes", "subsequences"]
Layout = Literal["timesteps", "features", "tokens"]
Padding = Literal["pre", "post"]

#: What splits cut: each sequence in time, or a list of sequences.
SplitBy = Literal["time", "sequences"]
FoldMode = Literal["expanding", "sliding"]

Reset = Literal["epoch", "batch", "never"] | int
Verbose = Literal["auto", 0, 1, 2]
JitCompile = Literal["auto"] | bool

#: A model's recurrent states: for each stateful layer a list of arrays `(batch_size, …)`, nested
#: where its cells are stacked.
States = list[list[Any]]

SamplerName = Literal["greedy", "random", "top_k", "top_p", "beam"]
ExportKind = Literal["symbols", "values"]

#: Which frames: one, or several.
Index = int | slice | Sequence[int] | np.ndarray

#: Columns of a table, by name or position.
Columns = str | int | Sequence[str | int] | np.ndarray

#: A tensor of the current Keras backend, whose types a type checker does not see.
Tensor = Any
