"""The picture of the recorded run: its trials and its best value, beside TPE without and with the task's example.

From the root of a clone:

    PYTHONPATH=examples python -m showcase.picture docs/images/showcase.svg

It is an SVG without a background, in colours that can be read on white and on black.
"""

import argparse
import math
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

from .chart import best_so_far, median_of
from .recorded_run import RECORDED, RIVALS, WITH_EXAMPLE, RecordedRun, rationales, read_run
from .rivals import read_rivals
from .score import ENDED

SIZE: Final = (760, 480)
LEFT, RIGHT, TOP, BOTTOM = 60, 740, 40, 360  # of the plot
TEXT, MODEL, RIVAL, GIVEN = "#6e7b88", "#2f81d6", "#c98a1b", "#9a6dd7"
TICK: Final = 0.2  # labels of values are multiples of it
APART: Final = 40  # pixels, at least, between two of them
QUOTE_COLUMNS: Final = 108


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Where a trial and a value are in the picture; values are on a log scale, since the first ones are far off."""

    n: int
    low: float
    high: float

    def x(self, trial: int) -> float:
        return round(LEFT + (RIGHT - LEFT) * trial / (self.n - 1), 1)

    def y(self, value: float) -> float:
        place = math.log(self.high / value) / math.log(self.high / self.low)
        return round(TOP + (BOTTOM - TOP) * place, 1)

    def ticks(self) -> list[float]:
        """Round values, from the least."""
        found: list[float] = []
        for number in range(math.ceil(self.low / TICK), math.floor(self.high / TICK) + 1):
            if not found or self.y(found[-1]) - self.y(number * TICK) >= APART:
                found.append(number * TICK)
        return found

    def steps(self, values: Sequence[float]) -> str:
        """A line that keeps its value until the next trial."""
        first, *rest = values
        moves = [f"M{self.x(0)} {self.y(first)}"]
        moves += [f"H{self.x(trial)}V{self.y(value)}" for trial, value in enumerate(rest, 1)]
        return "".join(moves)

    def band(self, above: Sequence[float], below: Sequence[float]) -> str:
        back = [f"V{self.y(below[-1])}"]
        back += [f"H{self.x(trial)}V{self.y(below[trial - 1])}" for trial in range(self.n - 1, 0, -1)]
        return f"{self.steps(above)}{''.join(back)}H{self.x(0)}Z"


def picture(
    run: RecordedRun,
    tpe: Sequence[Sequence[float]],
    with_example: Sequence[Sequence[float]],
    reasons: Sequence[str],
) -> str:
    """The SVG; `reasons` are the model's, by the numbers of the trials."""
    order = [event.number for event in run.events if event.kind == ENDED]
    values = [run.evaluations[number].value for number in order]
    mine, theirs = best_so_far(values), [best_so_far(seed) for seed in tpe]
    quartiles = [statistics.quantiles(column, n=4) for column in zip(*theirs, strict=True)]
    luckiest = min(theirs, key=lambda seed: seed[-1])
    below, _, above = (list(column) for column in zip(*quartiles, strict=True))
    given = median_of([*map(best_so_far, with_example)])
    shown = [*values, *above, *luckiest, *given]
    margin = (max(shown) / min(shown)) ** 0.03
    plot = Plot(n=len(mine), low=min(shown) / margin, high=max(shown) * margin)
    best = min(order, key=lambda number: run.evaluations[number].value)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE[0]} {SIZE[1]}" '
            f'font-family="system-ui, sans-serif" font-size="13" fill="{TEXT}">',
            f'<path d="{plot.band(above, below)}" fill="{RIVAL}" opacity="0.22"/>',
            f'<path d="{plot.steps(median_of(theirs))}" fill="none" stroke="{RIVAL}" stroke-width="2"/>',
            f'<path d="{plot.steps(luckiest)}" fill="none" stroke="{RIVAL}" stroke-dasharray="3 4"/>',
            f'<path d="{plot.steps(given)}" fill="none" stroke="{GIVEN}" stroke-width="2" stroke-dasharray="9 4"/>',
            *(
                f'<circle cx="{plot.x(trial)}" cy="{plot.y(value)}" r="3.5" fill="{MODEL}" opacity="0.6"/>'
                for trial, value in enumerate(values)
            ),
            f'<path d="{plot.steps(mine)}" fill="none" stroke="{MODEL}" stroke-width="2.5"/>',
            *_axes(plot),
            *_legend(run.model, len(tpe), len(with_example)),
            *_quote(best, run.evaluations[best].value, reasons[best]),
            "</svg>\n",
        ]
    )


def _axes(plot: Plot) -> list[str]:
    lines = [f'<path d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}" fill="none" stroke="{TEXT}"/>']
    lines += [_text(LEFT - 8, plot.y(value) + 4, f"{value:.1f}", "end") for value in plot.ticks()]
    trials = sorted({1, *range(5, plot.n + 1, 5), plot.n})
    lines += [_text(plot.x(trial - 1), BOTTOM + 18, str(trial), "middle") for trial in trials]
    return [*lines, _text((LEFT + RIGHT) / 2, BOTTOM + 36, "finished trials", "middle")]


def _legend(model: str, n_seeds: int, n_given: int) -> list[str]:
    return [
        _text(LEFT, 18, "Best value so far: bits per character of a small language model (log scale), less is better"),
        _text(RIGHT - 4, TOP + 4, f"TPE: median, middle half and (dashed) luckiest of {n_seeds} seeds", "end", RIVAL),
        _text(
            RIGHT - 4, TOP + 22, f"TPE, given the task's example as its first trial: median of {n_given}", "end", GIVEN
        ),
        _text(RIGHT - 4, TOP + 40, f"{model}: one run, 4 workers", "end", MODEL),
    ]


def _quote(number: int, value: float, reason: str) -> list[str]:
    lines = textwrap.wrap(f"Its best, trial {number} with {value:.3f}: “{reason}”", QUOTE_COLUMNS)
    return [_text(LEFT - 40, BOTTOM + 64 + 18 * row, line) for row, line in enumerate(lines)]


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = TEXT) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def draw(folder: Path = RECORDED) -> str:
    """The picture of a recording."""
    tpe, with_example = (list(read_rivals(RECORDED / name).values()) for name in (RIVALS, WITH_EXAMPLE))
    return picture(read_run(folder), tpe, with_example, rationales(folder))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m showcase.picture", description="Draw the recorded run.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--recording", type=Path, default=RECORDED)
    options = parser.parse_args(arguments)
    options.path.write_text(draw(options.recording), encoding="utf-8")


if __name__ == "__main__":
    main()
