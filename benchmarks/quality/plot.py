"""Regret curves as pictures: one for each suite, and one over all tasks."""

import importlib.util
import statistics
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from .comparison import Key, overall
from .measures import Measured
from .report import regrets_at


def can_draw() -> bool:
    """Whether what draws is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def curves(measured: Sequence[Measured], failed: Collection[Key] = ()) -> dict[str, list[tuple[int, float]]]:
    """Mean normalised regret of each method after each number of trials."""
    longest = max((len(cell.values) for cell in measured), default=0)
    found: dict[str, list[tuple[int, float]]] = {}
    for trials in range(1, longest + 1):
        for method, value in overall(regrets_at(measured, trials, failed)).items():
            found.setdefault(method, []).append((trials, value))
    return found


def suites(measured: Sequence[Measured]) -> dict[str, list[Measured]]:
    """The cells of each suite, and of all if there is more than one."""
    found: dict[str, list[Measured]] = {}
    for cell in measured:
        found.setdefault(cell.task.split("/")[0], []).append(cell)
    return {**found, "mean": list(measured)} if len(found) > 1 else found


def plot(measured: Sequence[Measured], folder: Path, failed: Collection[Key] = ()) -> list[Path]:
    """Write `regret-SUITE.png` for each suite, and `regret-mean.png`; `failed` are cells without measures.

    It needs matplotlib, see `can_draw`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _picture(curves(cells, failed), name, folder / f"regret-{name}.png") for name, cells in suites(measured).items()
    ]


def _picture(lines: Mapping[str, Sequence[tuple[int, float]]], title: str, path: Path) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for style, (method, points) in zip(_styles(len(lines)), lines.items(), strict=True):
        axes.plot([n for n, _ in points], [regret for _, regret in points], style, label=method, linewidth=1.6)
    levels = [regret for points in lines.values() for _, regret in points if regret > 0]
    if levels:
        axes.set_yscale("log")
        axes.set_ylim(top=min(max(levels), 4 * max(1.0, statistics.median(levels))))
    axes.set_xlabel("trials")
    axes.set_ylabel("mean normalised regret (1: median of random configurations)")
    axes.set_title(title)
    axes.legend(fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    return path


def _styles(n: int) -> list[str]:
    return [("-", "--", ":", "-.")[index // 10 % 4] for index in range(n)]
