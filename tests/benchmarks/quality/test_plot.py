"""Regret curves."""

from pathlib import Path

import pytest
from benchmark_support import SMALL, cell

from benchmarks.quality.__main__ import main
from benchmarks.quality.plot import curves, suites


def test_curves_are_means_over_tasks_by_suite() -> None:
    measured = [cell("m", [1.0, 0.5], "a/x"), cell("m", [0.0, 0.0], "b/y")]
    assert curves(measured) == {"m": [(1, 0.5), (2, 0.25)]}
    assert list(suites(measured)) == ["a", "b", "mean"]


def test_pictures_are_drawn_where_matplotlib_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    main([argument for argument in SMALL if argument != "--no-plot"] + ["--out", str(tmp_path)])
    assert (tmp_path / "first" / "regret-synthetic.png").stat().st_size > 1000
