"""A menu as the prompt shows it: candidates as a numbered table."""

from collections.abc import Sequence

from ...engine.records import Params
from ..space.menu_reply import NONE_OF_THEM, number_key
from ..space.notation import cells, format_number
from ..space.space import Space

# What the column of estimates is worth: they are ranks among the values seen, so none is better than the best.
TRUST = (
    "The estimates are those of a small statistical model of the trials above, which may be far off. It estimates no "
    "value better than the best so far, though a candidate may reach one."
)

DECLINE = f"If none of them is worth a trial, give {NONE_OF_THEM}: you are then asked for values of your own."


def menu_text(candidates: Sequence[Params], expected: Sequence[float], space: Space, *, optional: bool = False) -> str:
    """The candidates, a row each, of the parameters in which they differ; what they have in common stands below.

    `expected` has a value for each of them, or none; equal ones tell nothing. `optional`: it may be declined. Empty
    without candidates.
    """
    if not candidates:
        return ""
    key = number_key(space)
    names = [name for name in space.distributions if any(name in candidate for candidate in candidates)]
    rows = [cells(candidate, space.distributions, names) for candidate in candidates]
    differing = [index for index, column in enumerate(zip(*rows, strict=True)) if len(set(column)) > 1]
    written = [format_number(value) for value in expected]
    telling = len(set(written)) > 1
    values = [[value] for value in written] if telling else [[]] * len(rows)
    header = [key, *["estimated value"] * telling, *(space.keys[names[index]] for index in differing)]
    lines = [
        [str(number), *value, *(row[index] for index in differing)]
        for number, (value, row) in enumerate(zip(values, rows, strict=True), 1)
    ]
    table = "\n".join(",".join(line) for line in [header, *lines])
    common = [f"{space.keys[name]} = {rows[0][i]}" for i, name in enumerate(names) if i not in differing]
    shared = f"In all of them {', '.join(common)}.\n" if common else ""
    trust = f"{TRUST}\n" if telling else ""
    return (
        f"Take it from these candidates:\n{table}\n{shared}{trust}"
        f'Instead of values for the parameters give "{key}": the number of the one to try.'
        f"{f' {DECLINE}' * optional}"
    )
