"""Until the merge: the former names of what has moved, for callers that are rewritten then.

Delete this file and its import in `seqframe/__init__.py` when they are.
"""

from typing import Any

from seqframe.framing import batches
from seqframe.framing.framer import SequenceFramer
from seqframe.framing.frames import Frames
from seqframe.framing.lanes import Lanes


def _renamed(cls: type, names: str) -> None:
    for name in names.split():
        setattr(cls, name, property(lambda self, name=name: getattr(self, f"_{name}")))


_renamed(
    Frames,
    "locate take place gather pack rank resolve written on array_specs nbytes fingerprint breaks "
    "counts",
)
_renamed(Lanes, "index segments")
_renamed(SequenceFramer, "settings")
other: Any = Frames
other.inputs = property(lambda self: self.source.inputs)
other.targets = property(lambda self: self.source.targets)
for name in ("pads", "span", "ahead", "least_steps", "count", "draws"):
    value = property(lambda self, name=name: getattr(self.geometry, name))
    setattr(SequenceFramer, name, value)


_check_redraw = batches.check_redraw
batches.check_redraw = lambda rule: _check_redraw(getattr(rule, "geometry", rule))
