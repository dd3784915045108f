"""Replay the recorded run: its rationales as its trials end, its curve beside TPE's two, and its report page."""

import argparse
import statistics
import textwrap
import webbrowser
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.trial import FrozenTrial

from .chart import Curve, best_so_far, chart, median_of, share_beaten
from .page import write_page
from .recorded_run import RECORDED, RIVALS, WITH_EXAMPLE, RecordedRun, read_run, trials_from_menus
from .replay import Replayed, replay
from .rivals import read_rivals
from .task import N_WORKERS

SPEED: Final = 10.0  # slow enough to see trials end one by one
COLUMNS: Final = 80
INDENT: Final = " " * 19


def show_trial(study: optuna.Study, trial: FrozenTrial, menus: Set[int]) -> None:
    """One trial as it ends, with why the model proposed it."""
    best = "best" if trial.number == study.best_trial.number else ""
    reason = ("(menu) " if trial.number in menus else "") + trial.user_attrs["llm"]["rationale"]
    said = textwrap.fill(reason, COLUMNS, initial_indent=INDENT, subsequent_indent=INDENT).lstrip()
    print(f"{trial.number:>5} {trial.value:>7.3f} {best:<4} {said}", flush=True)


def shown(params: dict[str, Any]) -> str:
    """Parameters with as many digits as matter."""
    parts = (f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in params.items())
    return textwrap.fill("  ".join(parts), COLUMNS, initial_indent="  ", subsequent_indent="  ")


def introduction(run: RecordedRun) -> str:
    """What is shown, and what is real about it."""
    how = f"{run.how} " if run.how else ""
    return textwrap.fill(
        f"A neural language model of characters is trained on a fixed budget of arithmetic; {run.model} proposed "
        f"each of {len(run.evaluations)} trainings, for {N_WORKERS} workers at once. {how}Recorded on {run.date}; "
        "replayed here without a model, a key or a network. "
        "Values are bits per character on held-out text: less is better.",
        COLUMNS,
    )


def comparison(study: optuna.Study, tpe: Sequence[Sequence[float]], with_example: Sequence[Sequence[float]]) -> str:
    """The curves, and what they say; `with_example` are studies of TPE that began with the task's example."""
    ended = sorted(study.trials, key=lambda trial: trial.datetime_complete or trial.number)
    mine = best_so_far([float(trial.values[0]) for trial in ended])
    theirs = [best_so_far(seed) for seed in tpe]
    half = len(mine) // 2
    last = [seed[-1] for seed in theirs]
    given = [best_so_far(seed) for seed in with_example]
    given_last = [seed[-1] for seed in given]
    curves = [
        Curve(mark="M", name="the model, one run of 4 workers", values=mine),
        Curve(mark="t", name=f"TPE, the median of {len(tpe)} seeds, one trial after another", values=median_of(theirs)),
        Curve(mark="e", name="the same, its first trial the example of the task", values=median_of(given)),
    ]
    words = (
        f"After {half} trials the model has {mine[half - 1]:.3f}, which is better than "
        f"{share_beaten(mine[half - 1], last)} studies of TPE have after {len(mine)}. "
        f"After {len(mine)} it has {mine[-1]:.3f}, better than {share_beaten(mine[-1], last)}: "
        f"their median is {statistics.median(last):.3f}, and their best {min(last):.3f}. "
        "The task's text names four of the eight settings as an example, which TPE cannot read. With that example, "
        f"completed with usual values, given to TPE as its first trial ({with_example[0][0]:.3f}): median "
        f"{statistics.median(given_last):.3f}, best {min(given_last):.3f}; the model is better than "
        f"{share_beaten(mine[-1], given_last)}."
    )
    return f"{chart(curves, 'best value so far')}\n\n{textwrap.fill(words, COLUMNS)}"


def ending(replayed: Replayed, page: Path) -> str:
    """What was best, whether this was a true replay, and where the page is."""
    best = replayed.study.best_trial
    prompts = (
        "Every prompt was to the letter what the model had been shown"
        if replayed.n_same == replayed.n_free
        else f"{replayed.n_free - replayed.n_same} of {replayed.n_free} prompts are worded anew since the model saw "
        "them; what it answered is as it was"
    )
    menus = len(replayed.menus)
    if menus:
        prompts += (
            f", but for {menus} in which it had been offered a menu of candidates: what it chose is marked (menu)"
        )
    return f"Best: trial {best.number}\n{shown(best.params)}\n\n{textwrap.fill(prompts + '.', COLUMNS)}\nReport: {page}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m showcase", description="Replay a recorded run, and write its report.")
    parser.add_argument("--recording", type=Path, default=RECORDED)
    parser.add_argument("--speed", type=float, default=SPEED, help="how many times faster")
    parser.add_argument("--report", type=Path, default=Path("showcase-report.html"))
    parser.add_argument("--open", action="store_true", help="open the report in a browser")
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    run = read_run(options.recording)
    tpe, with_example = (list(read_rivals(RECORDED / name).values()) for name in (RIVALS, WITH_EXAMPLE))
    print(f"{introduction(run)}\n\ntrial   value      why the model proposed it", flush=True)
    menus = trials_from_menus(options.recording)
    replayed = replay(options.recording, options.speed, lambda study, trial: show_trial(study, trial, menus))
    page = write_page(options.report.absolute(), replayed, run, tpe)
    print(f"\n{comparison(replayed.study, tpe, with_example)}\n\n{ending(replayed, page)}")
    if options.open:
        webbrowser.open(page.as_uri())


if __name__ == "__main__":
    main()
