"""The sections of a report but for its table of trials: numbers as plain HTML, and the places of figures."""

from collections.abc import Iterator, Mapping
from typing import Final

from ...engine.logs import counted
from ..endings import ending
from ..figures import DRAWN_TRIALS, MOST_SLICES, Figure
from ..findings import FEWEST_FOR_IMPORTANCES, STATE_WORDS, Findings, Improvement
from ..tallies import Proposing
from .html import cards, dollars, duration, number, plot, table, text

WORDS_LENGTH: Final = 600  # of a rationale or a message
MOST_MODELS: Final = 5
MOST_BARS: Final = 30
MOST_PARAMETERS: Final = 60
MOST_FAILURES: Final = 20


def summary_section(findings: Findings) -> Iterator[str]:
    best, spending = findings.best, findings.spending
    states = ", ".join(f"{count} {STATE_WORDS[state]}" for state, count in findings.states().items())
    models = ", ".join(text(model) for model in findings.models[:MOST_MODELS])
    more = len(findings.models) - MOST_MODELS
    models += f" and {more} more" if more > 0 else ""
    yield f'<p class="soft">{"Maximized" if findings.maximize else "Minimized"}; {models or "no model on record"}</p>'
    yield cards(
        {
            "best value": number(best.value) if best else "none",
            "of trial": str(best.number) if best else "-",
            "trials": states or "none",
            "US dollars": dollars(spending.cost, spending.unknown),
            "tokens": f"{spending.tokens:,}",
            "model calls in all": f"{spending.calls:,}",
        }
    )
    yield from _best_trial(findings)


def _best_trial(findings: Findings) -> Iterator[str]:
    row = findings.best_row
    if row is None:
        return
    names = [name for name in findings.parameters if row[name] is not None]
    yield f"<h2>The best trial, {row['number']}</h2>"
    if row["rationale"]:
        yield f"<p>The model's reason: {text(row['rationale'], WORDS_LENGTH)}</p>"
    yield cards({text(name.removeprefix("params_")): text(row[name]) for name in names[:MOST_PARAMETERS]})
    if len(names) > MOST_PARAMETERS:
        yield f"<p>The table of trials has {counted(len(names) - MOST_PARAMETERS, 'more parameter')}.</p>"


def progress_section(findings: Findings, figures: Mapping[str, Figure], *, with_baseline: bool) -> Iterator[str]:
    yield "<h2>Best value</h2>"
    if "best" not in figures:
        yield "<p>No trial has a value yet.</p>"
        return
    yield "<p>Over finished trials, in the order in which they ended."
    yield (
        "The grey band is a random search: all orders in which the trials of the given baseline study might have come."
        if with_baseline
        else "What a random search would have is not shown: it takes a study of one, given as <code>baseline</code>."
    )
    yield "The axis shows the better nine tenths of all values; double-click for all.</p>"
    yield plot("best", figures, "Best value over finished trials")
    as_many = " A random search is shown with as many trials as had ended by then." if with_baseline else ""
    yield f"<p>The same over time.{as_many}</p>"
    yield plot("hours", figures, "Best value over time")


def workers_section(findings: Findings, figures: Mapping[str, Figure]) -> Iterator[str]:
    timeline = findings.timeline
    if not findings.runs and not timeline.stretches:
        return
    yield "<h2>Runs and workers</h2>"
    if findings.runs:
        rows = (
            (
                str(place),
                ", ".join(
                    f"{count} {word}"
                    for count, word in (
                        (run.n_complete, "complete"),
                        (run.n_pruned, "pruned"),
                        (run.n_failed, "failed"),
                    )
                    if count
                )
                or "-",
                "-" if run.seconds is None else duration(run.seconds),
                "-" if run.ended is None else f"{run.ended:%Y-%m-%d %H:%M}",
                text(ending(run.stop_reason), WORDS_LENGTH),
            )
            for place, run in enumerate(findings.runs, 1)
        )
        yield table(("run", "trials", "took", "ended", "why it stopped"), rows)
    if not timeline.stretches:
        return
    yield cards(
        {
            "most trials at once": str(timeline.busiest),
            "evaluating": duration(timeline.evaluating_seconds),
            "waiting for the model": duration(timeline.model_seconds),
            "waiting for anything else": duration(timeline.waiting_seconds),
        }
    )
    yield '<p class="soft">Seconds are added up over workers. '
    yield (
        ""
        if timeline.recorded
        else "Not every trial has on record which worker ran it: such trials are packed as their times allow. "
    )
    yield (
        "Waiting for the model is the part of its latency in which a worker had nothing to evaluate; all else between "
        "two trials of a run (a turn within the limits, storage, the end of a run) is the rest.</p>"
    )
    yield plot("workload", figures, "How many workers did what")
    if "workload" in figures:
        yield f"<p>The last {DRAWN_TRIALS:,} trials, one by one:</p>"
    yield plot("timeline", figures, "What each worker did when")


def parameters_section(findings: Findings, figures: Mapping[str, Figure]) -> Iterator[str]:
    yield "<h2>Parameters</h2>"
    if findings.importances:
        yield "<p>Importance: the share of each among all, by Optuna's PED-ANOVA.</p>"
        largest = max(findings.importances.values()) or 1.0
        for name, share in list(findings.importances.items())[:MOST_BARS]:
            width = max(0.0, 100 * share / largest)
            bar = f'<span><i style="width:{width:.1f}%"></i></span>'
            yield f'<div class="bar"><span>{text(name)}</span>{bar}<span>{share:.2f}</span></div>'
    else:
        yield (
            f"<p>Importances are left out: they take at least {FEWEST_FOR_IMPORTANCES} trials with a value, "
            "and that these differ and have parameters in common.</p>"
        )
    slices = [name for name in figures if name.startswith("slice")]
    if slices:
        yield "<p>Value over each parameter; the later a trial, the stronger its blue."
        yield f" Only {MOST_SLICES} are shown.</p>" if len(findings.parameters) > MOST_SLICES else "</p>"
        places = "".join(plot(name, figures, "Value over a parameter") for name in slices)
        yield f'<div class="slices">{places}</div>'


def spending_section(findings: Findings, figures: Mapping[str, Figure]) -> Iterator[str]:
    if "spending" not in figures and not findings.improvements:
        return
    yield "<h2>Spending</h2>"
    yield plot("spending", figures, "Spending over time")
    if findings.improvements:
        yield "<p>What each improvement took since the one before it.</p>"
        priced = any(step.cost for step in findings.improvements)
        heads = ("trial", "value", "gain", "trials", "US dollars", "tokens", *["dollars per unit of gain"] * priced)
        yield table(heads, (_improvement(step, priced=priced) for step in findings.improvements))


def _improvement(step: Improvement, *, priced: bool) -> Iterator[str]:
    yield str(step.number)
    yield number(step.value)
    yield "" if step.gain is None else number(step.gain)
    yield str(step.trials)
    yield "unknown" if step.cost is None else f"{step.cost:.4f}"
    yield f"{step.tokens:,}"
    if priced:
        yield number(step.cost / step.gain) if step.cost and step.gain else ""


def proposals_section(findings: Findings, figures: Mapping[str, Figure]) -> Iterator[str]:
    proposing = findings.proposing
    if not proposing.proposed:
        return
    yield "<h2>Proposals</h2>"
    yield cards(
        {
            "trials from the model": str(proposing.proposed),
            "calls for these trials": f"{proposing.calls:,}",
            "re-asks": str(proposing.reasks),
            "repairs": str(proposing.repairs),
            "duplicates": str(proposing.duplicates),
            "share of menus": f"{proposing.menus / proposing.proposed:.0%}",
            "staleness, mean": _staleness(proposing) + (f" (at most {proposing.stalest})" if proposing.stalest else ""),
        }
    )
    yield (
        f'<p class="soft">{_calls(findings.spending.calls, proposing.calls)} '
        "A re-ask is a call because a reply was wrong; a repair a value that was moved into its range; "
        "staleness how many results came between a proposal's prompt and its evaluation.</p>"
    )
    yield plot("proposals", figures, "Re-asks, repairs, duplicates and menus so far")
    heads = ("role", "trials", "improvements", "re-asks", "repairs", "duplicates", "menus", "staleness, mean")
    yield table(
        heads,
        (
            (text(tally.role), str(tally.trials), str(tally.improvements), *_counts(tally.proposing))
            for tally in findings.roles
        ),
    )


def _calls(all_: int, on_trials: int) -> str:
    """What the two numbers of calls are, in a sentence."""
    if all_ <= on_trials:
        return "Every model call of the study was for one of these trials."
    return (
        f"Model calls of the study: {all_:,}. Of these {all_ - on_trials:,} led to no trial: no answer came, or "
        "none that was of use, or the run ended first."
    )


def _counts(proposing: Proposing) -> Iterator[str]:
    yield from map(str, (proposing.reasks, proposing.repairs, proposing.duplicates, proposing.menus))
    yield _staleness(proposing)


def _staleness(proposing: Proposing) -> str:
    return "-" if proposing.staleness is None else f"{proposing.staleness:.1f}"


def failures_section(findings: Findings) -> Iterator[str]:
    if not findings.failures:
        return
    yield "<h2>Failures</h2>"
    yield table(
        ("type", "trials", "last one", "its message"),
        (
            (text(tally.kind), str(tally.count), str(tally.number), text(tally.message, WORDS_LENGTH))
            for tally in findings.failures[:MOST_FAILURES]
        ),
    )
    if len(findings.failures) > MOST_FAILURES:
        yield f"<p>And {counted(len(findings.failures) - MOST_FAILURES, 'more type')}, in the table of trials.</p>"
