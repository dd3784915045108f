"""A data card: counts and ranges, in a few lines, and nothing of the data itself."""

import datetime
import decimal
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes

from optuna_llm import UsageError, describe

NAN = float("nan")
SQUARE = np.arange(12.0).reshape(6, 2)
DAY = datetime.date(2026, 1, 1)


class PolarsLike:
    """A series and a frame in the way of polars."""

    class Series:
        def __init__(self, name: str, values: Sequence[Any], dtype: str) -> None:
            self.name, self.dtype, self._values = name, dtype, values
            self.shape = (len(values),)

        def to_numpy(self) -> np.ndarray[Any, Any]:
            if self.dtype.startswith(("Int", "Float", "Bool")) and None not in self._values:
                return np.array(self._values)
            values = np.empty(len(self._values), dtype=object)
            values[:] = self._values
            return values

    def __init__(self, **columns: tuple[str, Sequence[Any]]) -> None:
        self._series = {name: self.Series(name, values, dtype) for name, (dtype, values) in columns.items()}
        self.columns = [*columns]
        self.dtypes = [series.dtype for series in self._series.values()]
        self.shape = (max((len(values) for _, values in columns.values()), default=0), len(columns))

    def __getitem__(self, name: str) -> Any:
        return self._series[name]

    def to_numpy(self) -> np.ndarray[Any, Any]:
        return np.array([series.to_numpy() for series in self._series.values()]).T


class PandasLike:
    """A frame in the way of pandas: columns by place, names of any kind."""

    class Place:
        def __init__(self, frame: "PandasLike") -> None:
            self._frame = frame

        def __getitem__(self, key: tuple[slice, int]) -> Any:
            return self._frame.series[key[1]]

    def __init__(self, names: Sequence[Any], frame: PolarsLike) -> None:
        self.columns, self.dtypes, self.shape = names, frame.dtypes, frame.shape
        self.series = [frame[name] for name in frame.columns]
        self.to_numpy = frame.to_numpy
        self.iloc = self.Place(self)


def lines(thing: Any, y: Any = None) -> dict[str, str]:
    """The card, as what each line says of what."""
    return dict(line.rstrip(".").split(": ", 1) for line in describe(thing, y).splitlines())


def test_a_classification_is_told_in_a_few_lines() -> None:
    assert describe(*load_breast_cancer(return_X_y=True)) == (
        "Data: 569 rows, 30 columns (19 rows a column), float64.\n"
        "Columns: 30 numeric.\n"
        "Missing values: none.\n"
        "Scale: standard deviations of the numeric columns from 0.00264 to 569: 2.2e+05 times apart, so scaling "
        "matters.\n"
        "Target: classification, 2 classes (whole numbers); the most frequent has 62.7 % of the rows, the least 37.3 % "
        "(212 rows)."
    )


def test_a_regression_has_moments_and_quantiles() -> None:
    card = lines(*load_diabetes(return_X_y=True))
    assert card["Target"].startswith("regression; mean 152, standard deviation 77, skew 0.44; quantiles at 5, 25, 50")
    assert card["Scale"] == "every numeric column has a standard deviation of about 0.0476"


FRAME = PolarsLike(
    age=("Int64", [31, 42, 53, 64, 75, None]),
    income=("Float64", [1e3, 2e3, 3e3, 4e3, 5e3, NAN]),
    member=("Boolean", [True, False, True, None, True, True]),
    city=("Categorical", ["Ulm", "Rom", "Ulm", "Rom", "Ulm", None]),
    street=("String", ["Weg", "Gasse", "Weg", "Gasse", "Weg", "Weg"]),
    born=("Date", [DAY] * 6),
    tags=("List(Int64)", [[1], [2], [3], [4], [5], [6]]),
)


@pytest.mark.parametrize("frame", [FRAME, PandasLike(FRAME.columns, FRAME)])
def test_a_frame_has_names_and_kinds_of_columns(frame: Any) -> None:
    card = lines(frame, FRAME["city"])
    assert card["Data"] == "6 rows, 7 columns (0.857 rows a column)"
    assert card["Names"] == '"age", "income", "member", "city", "street", "born", "tags"'
    assert card["Columns"] == "2 numeric, 1 boolean, 2 categorical (up to 2 levels), 1 date, 1 other"
    assert card["Missing values"] == "9.5 % of the cells, in 4 of 7 columns"
    assert card["Without any variance"] == "1 column"


def test_a_target_with_missing_values_says_so() -> None:
    classes, missing = describe(FRAME, FRAME["city"]).splitlines()[-2:]
    assert classes == (
        "Target: classification, 2 classes; the most frequent has 60 % of the rows, the least 40 % (2 rows)."
    )
    assert missing == "Target: missing in 16.7 % of the rows."


@pytest.mark.parametrize("value", ["Ulm", "Rom", "Weg", "Gasse", "31", "True", "2026"])
def test_no_cell_is_shown(value: str) -> None:
    assert value not in describe(FRAME, FRAME["street"])
    assert value not in describe(FRAME["city"], FRAME["city"])


def test_names_are_data_and_few() -> None:
    names = ["a\nb", "x" * 100, "/home/anna/x.csv", *(f"column {number}" for number in range(30))]
    columns: Any = {f"c{number}": ("Float64", [1.0, 2.0]) for number in range(33)}
    shown = lines(PandasLike(names, PolarsLike(**columns)))["Names"]
    assert shown.startswith('"a b", "' + "x" * 37 + '...", "<path>", "column 0"')
    assert shown.endswith('"column 16" and 13 more')


def test_names_that_are_no_strings_are_left_out() -> None:
    frame = PolarsLike(a=("Float64", [1.0, 2.0]), b=("Float64", [1.0, 2.0]))
    assert "Names" not in lines(PandasLike([0, ("a", 1)], frame))


def test_a_frame_of_numbers_is_read_as_one_matrix() -> None:
    frame = PolarsLike(a=("Float64", [1.0, NAN, 3.0]), b=("Float64", [500.0, 600.0, 700.0]))
    assert lines(frame) == lines(frame.to_numpy()) | {"Names": '"a", "b"', "Data": lines(frame)["Data"]}


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ([1, 2, None], "1 numeric"),
        ([decimal.Decimal(1), 2.5], "1 numeric"),
        ([10**400, 1], "1 numeric"),
        ([True, None, False], "1 boolean"),
        (["a", "b", None], "1 categorical (2 levels)"),
        ([f"sentence {number}" for number in range(30)], "1 text (11 characters on average)"),
        ([DAY, None], "1 date"),
        ([{}, {}], "1 other"),
        ([1, "a"], "1 other"),
        ([None, None], "1 other"),
    ],
)
def test_a_list_is_a_column_of_the_kind_of_its_values(column: list[Any], kind: str) -> None:
    assert lines(column)["Columns"] == kind


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.array([1, 2], dtype="uint8"), "1 numeric"),
        (np.array([1, 2], dtype="float16"), "1 numeric"),
        (np.array([True, False]), "1 boolean"),
        (np.array(["2026-01-01", "NaT"], dtype="datetime64[D]"), "1 date"),
        (np.array(["a", "b"]), "1 categorical (2 levels)"),
        (np.array([1j, 2]), "1 other"),
        (np.ma.masked_array([1, 2], [True, False]), "1 numeric"),
        (np.zeros(3, dtype=[("a", float), ("b", "U1")]), "1 numeric, 1 categorical (1 level)"),
    ],
)
def test_an_array_has_columns_of_the_kind_of_its_type(array: Any, kind: str) -> None:
    assert lines(array)["Columns"] == kind


def test_lists_of_rows_are_read_by_column() -> None:
    assert lines([[1, "a"], [2, "b"], [3, "a"]])["Columns"] == "1 numeric, 1 categorical (2 levels)"


def test_masked_cells_are_missing() -> None:
    masked = np.ma.masked_array(SQUARE, SQUARE > 9)
    assert lines(masked)["Missing values"] == "16.7 % of the cells, in 2 of 2 columns"


def test_infinite_cells_are_told_and_not_counted_as_missing() -> None:
    assert lines([[1.0, np.inf], [2.0, 3.0]])["Missing values"] == "none. 1 cell infinite"


def test_missing_cells_do_not_change_the_scale() -> None:
    rows = np.array([[1.0, 100.0], [2.0, NAN], [3.0, 300.0], [NAN, NAN]])
    assert "from 0.816 to 100:" in describe(rows)


def test_columns_without_any_variance_are_counted() -> None:
    assert lines([[1.0, NAN, 3.0], [1.0, NAN, 4.0]])["Without any variance"] == "2 columns"


def test_many_zeros_are_told() -> None:
    assert lines([[0, 0], [0, 4], [1, 2]])["Zeros"] == "50 % of the numeric cells"


def test_images_are_told_by_shape_and_range() -> None:
    images = np.zeros((10, 28, 28), dtype="uint8")
    images[:, 14:] = 255
    card = lines(images, [0, 1] * 5)
    assert card["Data"] == "10 rows, each an array of 28 x 28 (uint8)"
    assert card["Values"].startswith("from 0 to 255, mean 128")
    assert card["Target"].startswith("classification, 2 classes")


@pytest.mark.parametrize("kind", ["csr", "coo", "lil"])
def test_a_sparse_matrix_is_told_by_shape_and_density(kind: str) -> None:
    matrix = scipy.sparse.random(200, 50, density=0.05, format=kind, rng=0)
    card = lines(matrix, np.linspace(0, 1, 200))
    assert card["Data"] == "200 rows, 50 columns (4 rows a column), a sparse matrix of float64"
    assert card["Not zero"] == "5 % of the cells"
    assert card["Target"].startswith("regression")


@pytest.mark.parametrize(
    ("y", "start"),
    [
        ([0, 1, 2, 0, 1, 2], "classification, 3 classes (whole numbers)"),
        ([1.0, 2.0, 1.0, 2.0, 1.0, 1.0], "classification, 2 classes (whole numbers)"),
        ([-5, 10**9, -5, 10**9, -5, 10**9], "classification, 2 classes (whole numbers)"),
        ([True, False, True, True, False, True], "classification, 2 classes; the most frequent has 66.7 %"),
        (["a", "b", "a", "a", "b", "a"], "classification, 2 classes; the most frequent has 66.7 %"),
        ([10, 20, 35, 40, 50, 60], "regression; mean 35.8"),
        ([0.5, 1, 2, 0.5, 1, 2], "regression; mean 1.17"),
        ([1, 1, 1, 1, 1, 1], "one value alone"),
        ([0.5] * 6, "regression; mean 0.5, standard deviation 0, skew 0"),
        ([[1]] * 5 + [[2]], "classification, 2 classes"),
        ([[1, 2]] * 6, "2 columns: 2 numeric"),
        ([np.inf] * 6, "no finite number"),
    ],
)
def test_a_target_is_classes_or_numbers(y: Any, start: str) -> None:
    assert lines(SQUARE, y)["Target"].startswith(start)


def test_a_target_of_many_texts_is_no_classification() -> None:
    texts = [f"text {number}" for number in range(200)]
    assert lines(np.zeros((200, 2)), texts)["Target"] == "200 distinct values that are no numbers"


def test_a_column_alone_is_told_as_a_target() -> None:
    assert lines([0.5, 1.5, 2.5])["Values"].startswith("regression; mean 1.5")


@pytest.mark.parametrize("thing", [[], np.empty((0, 3)), np.empty((3, 0)), np.empty((0, 2, 2)), PolarsLike()])
def test_empty_data_is_refused(thing: Any) -> None:
    with pytest.raises(UsageError, match="empty"):
        describe(thing)


def test_empty_sparse_data_is_refused() -> None:
    with pytest.raises(UsageError, match="empty"):
        describe(scipy.sparse.csr_array((0, 5)))


def test_data_and_target_of_different_lengths_are_refused() -> None:
    with pytest.raises(UsageError, match="the data has 6 rows and y has 5"):
        describe(SQUARE, [1, 2, 3, 4, 5])


@pytest.mark.parametrize("y", ["target", 3, {"a": 1}])
def test_what_is_no_target_is_refused(y: Any) -> None:
    with pytest.raises(UsageError, match="y must hold one value for each row"):
        describe(SQUARE, y)


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(UsageError, match="the data cannot be read as an array"):
        describe([[1, 2], [3]])


def test_a_single_value_is_refused() -> None:
    with pytest.raises(UsageError, match="must have rows"):
        describe(np.array(3.0))


def test_the_same_data_gives_the_same_card_and_stays_as_it_was() -> None:
    rows, y = SQUARE.copy(), np.array([0, 1] * 3)
    rows.setflags(write=False)
    y.setflags(write=False)
    assert describe(rows, y) == describe(rows.copy(order="F"), list(y))


@given(
    st.lists(
        st.lists(st.floats(width=64), min_size=3, max_size=3),
        min_size=1,
        max_size=20,
    )
)
def test_any_floats_give_a_short_card(rows: list[list[float]]) -> None:
    text = describe(rows, [row[0] for row in rows])
    assert len(text) < 1000
    assert len(text.splitlines()) <= 12


def test_the_largest_floats_are_told_without_a_warning() -> None:
    huge = [3e303, -1.7e308, 1.7e308, 0.0]
    assert describe([[one] for one in huge], huge)
    assert describe(np.array(huge).reshape(2, 2, 1))
