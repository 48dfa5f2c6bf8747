"""How much of a sequence a model is shown at once when it is rolled out, and needs to be."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seqframe.framing.framer import SequenceFramer


def context_steps(framer: "SequenceFramer", stepped: bool) -> int:
    """Return how many raw steps a model needs to see at once."""
    return 1 if stepped and framer.layout != "features" else framer.span


def least_steps(framer: "SequenceFramer", stepped: bool) -> int:
    """Return how many of the steps that a model sees at once must be real, not padding."""
    return 1 if framer.pads else context_steps(framer, stepped)


def least_prompt(framer: "SequenceFramer", stepped: bool) -> int:
    """Return how many steps a model needs to be given."""
    return least_steps(framer, stepped) + framer.gap
