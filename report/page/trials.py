"""The table of trials: some as HTML, for the first sight and for readers without scripts, and all of them as data."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from ..findings import Findings
from ..tallies import Row
from .html import cell_text, text
from .packed import packed_json

FIRST_ROWS: Final = 200  # shown at once; the script knows the number too
ROWS_WITHOUT_SCRIPTS: Final = 1_000
WHY_LENGTH: Final = 400
NUMBERS: Final = ("calls", "reasks", "repairs", "duplicate_of", "staleness", "tokens", "cost", "latency", "seconds")
HEADS: Final = {"reasks": "re-asks", "duplicate_of": "duplicate of", "cost": "US dollars", "latency": "latency, s"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTable:
    """All cells as text, row by row; `why` is the column of rationale and failure, `best` the best trial's number."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    why: int
    best: str | None


def table_of(findings: Findings) -> TrialTable:
    """Write all trials as text; columns that would be empty are left out."""
    columns = [name for name in ("role", *NUMBERS) if any(row[name] is not None for row in findings.rows)]
    before = ["number", "state", "value", *findings.parameters]
    heads = ["trial", *before[1:3], *(name.removeprefix("params_") for name in findings.parameters), "why"]
    return TrialTable(
        heads=[*heads, *(HEADS.get(name, name) for name in columns)],
        rows=[list(_cells(row, before, columns)) for row in findings.rows],
        why=len(before),
        best=str(findings.best.number) if findings.best else None,
    )


def _cells(row: Row, before: Iterable[str], after: Iterable[str]) -> Iterator[str]:
    yield from (cell_text(row[name]) for name in before)
    yield cell_text(" ".join(str(part) for part in (row["rationale"], row["failure"]) if part), WHY_LENGTH)
    yield from (cell_text(row[name]) for name in after)


def trials_section(findings: Findings) -> Iterator[str]:
    """The table with its tools, as HTML."""
    table = table_of(findings)
    yield "<h2>Trials</h2>"
    if not table.rows:
        yield "<p>There are none yet.</p>"
        return
    states = "".join(f"<option>{state}</option>" for state in findings.states())
    yield '<div class="tools">'
    yield '<input id="find" type="search" placeholder="Filter: words that a trial has" aria-label="Filter trials">'
    yield f'<select id="state" aria-label="State"><option value="">all states</option>{states}</select>'
    yield '<span id="count" class="soft" role="status"></span></div>'
    head = "".join(f'<th scope="col"><button>{text(name)}</button></th>' for name in table.heads)
    yield f'<div class="wide"><table id="trials"><thead><tr>{head}</tr></thead><tbody id="rows">'
    yield from _rows(table, table.rows[:FIRST_ROWS])
    yield '</tbody></table></div><div class="tools"><button id="more">Show more</button></div>'
    yield from _without_scripts(table)
    yield packed_json("cells", _data(table))


def _without_scripts(table: TrialTable) -> Iterator[str]:
    """More rows for readers without scripts: browsers that run them do not even parse this."""
    rest = table.rows[FIRST_ROWS:ROWS_WITHOUT_SCRIPTS]
    if rest:
        head = "".join(f'<th scope="col">{text(name)}</th>' for name in table.heads)
        yield f'<noscript><div class="wide"><table><thead><tr>{head}</tr></thead><tbody>'
        yield from _rows(table, rest)
        yield "</tbody></table></div>"
        if len(table.rows) > ROWS_WITHOUT_SCRIPTS:
            yield f"<p>The first {ROWS_WITHOUT_SCRIPTS} of {len(table.rows)} trials; all of them need JavaScript.</p>"
        yield "</noscript>"


def _rows(table: TrialTable, rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in rows:
        mark = " best" if row[0] == table.best else ""
        cells = "".join(
            f"<td{' class=why' if column == table.why else ''}>{escape(cell)}</td>" for column, cell in enumerate(row)
        )
        yield f'<tr class="{row[1]}{mark}">{cells}</tr>'


def _data(table: TrialTable) -> Mapping[str, Any]:
    return {"rows": table.rows, "best": table.best, "why": table.why}
