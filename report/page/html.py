"""Pieces of HTML; the one place where text from outside enters the page, escaped."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Final

from ...engine.foreign_text import clean
from ...engine.logs import counted
from ..figures import Figure

CELL_LENGTH: Final = 80


def cell_text(value: object, length: int = CELL_LENGTH) -> str:
    """A value as people read it, on one line, not escaped; nothing for None."""
    if value is None:
        return ""
    return number(value) if isinstance(value, float) else clean(str(value), length)


def text(value: object, length: int = CELL_LENGTH) -> str:
    """Foreign text as HTML shows it: on one line, never read as HTML, and of whatever direction within its place."""
    return f"<bdi>{escape(cell_text(value, length))}</bdi>"


def number(value: float) -> str:
    return f"{value:.6g}"


def dollars(cost: float, unknown: int = 0) -> str:
    if unknown and not cost:
        return "unknown"
    return f"{cost:.4f}" + (f", and {counted(unknown, 'trial')} of unknown cost" if unknown else "")


def duration(seconds: float) -> str:
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds:.1f} s"


def cards(facts: Mapping[str, str]) -> str:
    """Names and what is known under them, in HTML; names are ours."""
    inner = "".join(f"<div><dt>{name}</dt><dd>{fact}</dd></div>" for name, fact in facts.items())
    return f'<dl class="cards">{inner}</dl>'


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table that scrolls by itself; all cells are HTML."""
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def plot(name: str, figures: Mapping[str, Figure], title: str) -> str:
    """The place of a figure; nothing where there is none."""
    if name not in figures:
        return ""
    height = figures[name]["layout"].get("height")
    style, kind = (f' style="height:{height}px"', ' class="tall"') if height else ("", "")
    return (
        f'<figure{kind} role="img" aria-label="{escape(title)}"><div class="plot" id="{name}"{style}></div>'
        '<p class="nojs soft">This figure needs JavaScript.</p></figure>'
    )
