"""Tables of HTML that show frames, lanes and framers in notebooks.

They need no style sheet, and take their colours from the page, light or dark.
"""

from collections.abc import Iterable
from html import escape
from typing import Any

_MOST_CHARACTERS = 44  # shown of an input or a target
_BORDER = "1px solid rgba(128, 128, 128, 0.35)"
_CELL = f"padding: 2px 10px; text-align: left; vertical-align: top; border-bottom: {_BORDER};"
_CODE = "font-family: monospace; white-space: pre-wrap;"
_NAME = "opacity: 0.7; font-weight: normal; white-space: nowrap;"

#: A name and its value.
Row = tuple[str, Any]


def html_table(title: str, rows: Iterable[Row]) -> str:
    """Return a table with a title, one name and value a row.

    >>> "<caption" in html_table("Frames: 4", [("x", "(3, 1) int32")])
    True
    """
    texts = ((name, value if isinstance(value, str) else repr(value)) for name, value in rows)
    lines = [
        f'<tr><th style="{_CELL} {_NAME}">{escape(name)}</th>'
        f'<td style="{_CELL} {_CODE}">{escape(text)}</td></tr>'
        for name, text in texts
    ]
    return (
        '<table style="border-collapse: collapse; font-size: 0.9em; color: inherit;">'
        f'<caption style="caption-side: top; text-align: left; padding: 2px 10px; '
        f'font-weight: bold; color: inherit;">{escape(title)}</caption>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def shorten(text: str) -> str:
    """Return a text in one line, or its beginning if it is long."""
    text = text.replace("\n", "↵")
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
