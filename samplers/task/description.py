"""`describe`: facts about an objective or about data, for the task of a prompt."""

from typing import Any

from ...engine.errors import UsageError
from .card import data_card
from .objective import objective_facts
from .table import is_data, is_sparse

CAN_DESCRIBE = (
    "an objective (a function, a class, an object that can be called), or data (an array, a data frame, a series, "
    "a sparse matrix, a list of rows) with or without its target: describe(X, y)"
)


def describe(thing: Any, y: Any = None) -> str:
    """Write facts for `LLMGuidedSampler(task=)`: of an objective its docstring and source, of data a data card.

    `thing` is a function, a method, a `functools.partial`, a class or an object that can be called: its source without
    paths and what looks like a secret, at most 3,000 characters. Or it is data: an array, a data frame or a series of
    pandas or polars, a sparse matrix, lists of rows. Of those the text has rows, columns, their names and types,
    missing values, scales, and of the target `y` classes or moments: counts and ranges, never a cell or a label.
    Nothing is drawn and nothing is changed: the same thing gives the same text.

    Raises `UsageError` for what is neither, for empty data, and if `y` is not as long as the data.

    >>> print(describe([[1.0, 20.0], [2.0, 10.0], [3.0, 30.0], [4.0, 20.0]], y=["a", "b", "a", "a"]))
    Data: 4 rows, 2 columns (2 rows a column), float64.
    Columns: 2 numeric.
    Missing values: none.
    Scale: standard deviations of the numeric columns from 1.12 to 7.07: of one order of magnitude.
    Target: classification, 2 classes; the most frequent has 75 % of the rows, the least 25 % (1 row).
    """
    if is_data(thing) or is_sparse(thing):
        return data_card(thing, y)
    if not callable(thing):
        raise UsageError(f"describe() takes {CAN_DESCRIBE}; not a {type(thing).__name__}")
    if y is not None:
        raise UsageError("y is the target of data; an objective has none: describe(objective)")
    return objective_facts(thing)
