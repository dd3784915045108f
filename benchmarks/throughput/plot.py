"""The ratio of each case beside its target, as a picture."""

from collections.abc import Sequence
from pathlib import Path

from .results import Result

GREEN, RED, GREY = "#2a7f62", "#b23a48", "#8d99ae"


def plot(results: Sequence[Result], path: Path) -> None:
    """Write a PNG of the results that are ratios to a limit; whiskers are minimum and maximum."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [result for result in results if result.unit == "ratio"][::-1]
    figure = Figure(figsize=(9, 1.4 + 0.42 * len(shown)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for row, result in enumerate(shown):
        value = result.value
        axes.barh(row, value.median, color=colour(result), height=0.6)
        whiskers = [[value.median - value.low], [value.high - value.median]]
        axes.errorbar(value.median, row, xerr=whiskers, color="black", capsize=3, linewidth=1)
        axes.annotate(f"{value.median:.3f}", (value.high, row), xytext=(6, 0), textcoords="offset points", va="center")
        if result.target is not None:
            axes.vlines(result.target.bound, row - 0.42, row + 0.42, color="black", linestyle="--", linewidth=1.5)
    axes.set_yticks(range(len(shown)), [result.case for result in shown])
    axes.set_xlim(0, 1.12)
    axes.set_xlabel("shortest possible makespan / measured makespan (1 = nothing lost); dashed: target")
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def colour(result: Result) -> str:
    """Green if the target is met, red if not, grey without one."""
    return {True: GREEN, False: RED, None: GREY}[result.met]
