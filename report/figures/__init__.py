"""The figures of a report as Plotly describes them: plain JSON; colours of text and grid come from the page."""

from collections.abc import Sequence

from ..baseline import BaselinePoint
from ..findings import Findings, counts_as_result
from .drawing import Figure
from .progress import best_figure, hours_figure
from .slices import MOST_SLICES, slice_figure
from .takings import proposals_figure, spending_figure
from .workers import DRAWN_TRIALS, timeline_figure, workload_figure

__all__ = ["DRAWN_TRIALS", "MOST_SLICES", "Figure", "figures_of", "timeline_figure"]


def figures_of(findings: Findings, baseline: Sequence[BaselinePoint] | None) -> dict[str, Figure]:
    """All figures, by the id of their place on the page; those that would be empty are left out."""
    results = [row for row in findings.ended if counts_as_result(row)]
    importances = findings.importances or {}
    ranked = sorted(findings.parameters, key=lambda name: -importances.get(name.removeprefix("params_"), 0.0))
    figures = {
        "best": best_figure(findings, results, baseline or ()),
        "hours": hours_figure(findings, results, baseline or ()),
        "workload": workload_figure(findings),
        "timeline": timeline_figure(findings),
        **{f"slice{i}": slice_figure(name, results, findings) for i, name in enumerate(ranked[:MOST_SLICES])},
        "spending": spending_figure(findings),
        "proposals": proposals_figure(findings),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}
