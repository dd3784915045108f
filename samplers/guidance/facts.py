"""Facts about the finished trials that a table does not say by itself, a line each. They name; they do not advise."""

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from ..space.axes import Array
from ..space.notation import format_number, labels, quote
from ..space.space import Space
from ..view.choices import ChoiceRecord
from ..view.evidence import Evidence
from .acquisition import EQUAL_WITHIN
from .candidates import inactive
from .strategy import Situation

# Trials, choices or parameters that a line lists, and lines about choices: what is longer is not read.
MAX_LISTED: Final = 6

# Characters of a choice: enough to tell it from others, while a choice may be a whole text.
MAX_LABEL: Final = 40

# Distinct values among which a step is looked for, and how far, in steps, a gap may be from a whole number of them:
# values that were rounded are within it, those of a continuous measure are not.
MIN_DISTINCT: Final = 4
STEP_SLACK: Final = 0.02


def facts(situation: Situation) -> tuple[str, ...]:
    """What is known of ties, of the values, of each choice, and of parameters that did not count."""
    evidence = situation.evidence
    return (
        *evidence.cached(_ties),
        *evidence.cached(_value_step),
        *_choices(situation),
        *evidence.cached(_inactive, situation.space),
    )


def _ties(evidence: Evidence) -> Sequence[str]:
    """Which trials share the best value."""
    best = evidence.best(MAX_LISTED + 1)
    tied = [trial.number for trial in best if trial.value == best[0].value]
    if len(tied) < 2:
        return ()
    numbers = ", ".join(map(str, tied[:MAX_LISTED])) + " and more" * (len(tied) > MAX_LISTED)
    return (f"The best value, {format_number(best[0].value)}, is shared by trials {numbers}.",)


def _value_step(evidence: Evidence) -> Sequence[str]:
    """The step that all values are multiples of, as an accuracy over a few samples has one."""
    losses = evidence.newest.losses
    step = smallest_step(losses[np.isfinite(losses)])
    if step is None:
        return ()
    return (f"Values differ by multiples of {format_number(step)}, so they are probably measured no finer.",)


def smallest_step(values: Array) -> float | None:
    """The smallest gap between values if all gaps are multiples of it, and some values are equal; else None."""
    with np.errstate(over="ignore", invalid="ignore"):  # values may be as large as floats are
        gaps = np.diff(np.sort(values))
        gaps = gaps[gaps > EQUAL_WITHIN * np.abs(values).max(initial=0.0)]  # means of folds differ by rounding alone
        distinct = len(gaps) + 1
        if distinct < MIN_DISTINCT or distinct == len(values):
            return None
        multiples = gaps / gaps.min()
        even = np.abs(multiples - np.round(multiples)) < STEP_SLACK
    return float(gaps.min()) if even.all() else None


def _choices(situation: Situation) -> Iterator[str]:
    """For each choice how many trials had it, how many of these failed, and the best value."""
    evidence, space = situation.evidence, situation.space
    if not evidence.complete:
        return
    axes = [(c, axis) for c, axis in enumerate(evidence.axes.all) if axis.choices and axis.name in space.distributions]
    for column, axis in axes[:MAX_LISTED]:
        choices = evidence.cached(_tried, column)
        shown = ", ".join(
            f"{choice.label} {choice.tried or _untried(situation, column, choice.place)}"
            for choice in choices[:MAX_LISTED]
        )
        rest = len(choices) - MAX_LISTED
        yield f"{space.keys[axis.name]}: {shown}{f' and {rest} more' if rest > 0 else ''}."


class _Choice(NamedTuple):
    """One choice of an axis as a prompt names it, and what came of its trials; nothing without any."""

    place: int
    label: str
    tried: str


def _tried(evidence: Evidence, column: int) -> Sequence[_Choice]:
    """What came of each choice of an axis, those with most trials first."""
    texts, records = labels(evidence.axes.all[column].choices), evidence.choices.of(column)
    most = sorted(range(len(records)), key=lambda index: (-records[index].trials, index))
    return [_Choice(index, quote(texts[index], MAX_LABEL), _came_of(evidence, records[index])) for index in most]


def _came_of(evidence: Evidence, record: ChoiceRecord) -> str:
    if not record.trials:
        return ""
    said = [f"{record.failed} failed"] * bool(record.failed)
    said += [f"{record.infeasible} infeasible"] * bool(record.infeasible)
    if record.best is not None and record.best < math.inf:
        said.append(f"best {format_number(evidence.value_of(record.best))}")
    return f"{record.trials} trial{'s' * (record.trials > 1)}" + f" ({', '.join(said)})" * bool(said)


def _untried(situation: Situation, column: int, choice: int) -> str:
    pending = sum(one.places[column] == choice for one in situation.in_flight)
    return f"{pending} in flight" if pending else "not tried"


def _inactive(evidence: Evidence, space: Space) -> Sequence[str]:
    """Which parameters the trials of a choice did not have."""
    axes = evidence.axes.all
    lines = []
    for column, choice, columns, trials in inactive(evidence.axes, evidence.newest.places):
        names = [space.keys[axes[c].name] for c in columns if axes[c].name in space.keys][:MAX_LISTED]
        key = space.keys.get(axes[column].name)
        if names and key is not None:
            label = quote(labels(axes[column].choices)[choice], MAX_LABEL)
            count = "The one trial" if trials == 1 else f"None of the {trials} trials"
            lines.append(f"{count} with {key} {label} had {'no ' * (trials == 1)}{', '.join(names)}.")
    return lines[:MAX_LISTED]
