"""Regret curves."""

import sys
from pathlib import Path

import pytest
from benchmark_support import SMALL, cell

from benchmarks.quality.__main__ import main
from benchmarks.quality.plot import curves, suites


def test_curves_are_means_over_tasks_by_suite() -> None:
    measured = [cell("m", [1.0, 0.5], "a/x"), cell("m", [0.0, 0.0], "b/y")]
    assert curves(measured) == {"m": [(1, 0.5), (2, 0.25)]}
    assert list(suites(measured)) == ["a", "b", "mean"]


def test_a_run_without_matplotlib_says_so_first_and_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    arguments = [argument for argument in SMALL if argument != "--no-plot"]
    outcome = main([*arguments, "--tasks", "synthetic/branin", "--methods", "random", "--out", str(tmp_path)])
    assert (len(outcome.measured), outcome.status) == (1, 0)
    shown = capsys.readouterr()
    assert shown.err.splitlines()[0].startswith("pictures need matplotlib: pip install matplotlib")
    assert "# Proposal quality" in shown.out
    assert list(tmp_path.rglob("*.png")) == []


def test_pictures_are_drawn_where_matplotlib_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    main([argument for argument in SMALL if argument != "--no-plot"] + ["--out", str(tmp_path)])
    assert (tmp_path / "first" / "regret-synthetic.png").stat().st_size > 1000
