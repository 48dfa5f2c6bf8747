"""How frames, lanes and framers show themselves in notebooks: small tables of HTML.

They stand by themselves, without styles from elsewhere, and take their colours from the page, light
or dark.
"""

import math
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqframe.framing.framer import SequenceFramer
    from seqframe.framing.frames import Frames
    from seqframe.framing.lanes import Lanes

_SHOWN_FRAMES = 5
_MOST_CHARACTERS = 44  # of an input or a target
_MOST_FEATURES = 64  # of a step that is shown
_BORDER = "1px solid rgba(128, 128, 128, 0.35)"
_CELL = f"padding: 2px 10px; text-align: left; vertical-align: top; border-bottom: {_BORDER};"
_CODE = "font-family: monospace; white-space: pre-wrap;"
_NAME = "opacity: 0.7; font-weight: normal; white-space: nowrap;"

#: What stands in a row: a name, and one value or several.
Row = tuple[str, Any]


def framer_html(framer: "SequenceFramer") -> str:
    """Return a framer as a table of the settings that differ from the defaults.

    >>> from seqframe import SequenceFramer
    >>> html = framer_html(SequenceFramer(3, horizon=2))
    >>> "sequence_length" in html, "horizon" in html, "gap" in html
    (True, True, False)
    """
    return _table("SequenceFramer", framer.settings.items())


def frames_html(frames: "Frames") -> str:
    """Return frames as a table: how many, their shapes, their framer, and the first of them."""
    return _table(f"Frames: {len(frames):,}", [*_frame_rows(frames), *_first_frames(frames)])


def lanes_html(lanes: "Lanes") -> str:
    """Return lanes as a table: how many batches and rows, and the frames that they are of."""
    rows, _, _, counts = lanes.segments
    filled = counts.sum() / (len(lanes) * lanes.batch_size)
    own = [
        ("batches", f"{len(lanes):,}"),
        ("rows", f"{lanes.batch_size:,}"),
        ("resets", f"{len(rows):,} in an epoch"),
        ("filled", f"{filled:.1%} (the rest has weight 0)" if filled < 1 else "100%"),
    ]
    return _table("Lanes", [*own, ("frames", f"{len(lanes.frames):,}"), *_frame_rows(lanes.frames)])


def _frame_rows(frames: "Frames") -> list[Row]:
    source = frames.source
    names = ["x", "y", "sample_weight"]
    if source.future is not None:
        names[:1] = ['x["past"]', 'x["future"]']
    arrays = [
        (name, f"{shape} {dtype}")
        for name, (shape, dtype) in zip(names, frames.array_specs, strict=False)
    ]
    count, steps = len(source.steps), f"{source.steps.sum():,} steps"
    lengths = ("sequence", steps) if count == 1 else ("sequences", f"{count:,} with {steps} in all")
    what = "starts" if frames.framer.mode == "subsequences" else "frames"
    lost = [("left out", f"{frames.left_out:,} {what} that touch a missing step")]
    return [*arrays, lengths, *(lost if frames.left_out else []), ("framer", repr(frames.framer))]


def _first_frames(frames: "Frames") -> list[Row]:
    if max(math.prod(rows.row_shape) for rows in (frames.inputs, frames.targets)) > _MOST_FEATURES:
        return []  # images, say: writing them takes long, and nobody reads it
    shown = [f"{_short(x)} → {_short(y)}" for x, y in frames.written(_SHOWN_FRAMES)]
    more = ["…"] if len(frames) > len(shown) else []
    return [("first frames", "\n".join([*shown, *more]))]


def _table(title: str, rows: Iterable[Row]) -> str:
    lines = [
        f'<tr><th style="{_CELL} {_NAME}">{escape(name)}</th>'
        f'<td style="{_CELL} {_CODE}">{escape(_text(value))}</td></tr>'
        for name, value in rows
    ]
    return (
        '<table style="border-collapse: collapse; font-size: 0.9em; color: inherit;">'
        f'<caption style="caption-side: top; text-align: left; padding: 2px 10px; '
        f'font-weight: bold; color: inherit;">{escape(title)}</caption>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _short(text: str) -> str:
    """Return a text in one line, or its beginning where it is long."""
    text = text.replace("\n", "↵")
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
