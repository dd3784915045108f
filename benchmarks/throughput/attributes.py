"""What flat attributes cost each trial on a storage, and what notes for optuna-dashboard cost at the end of a run.

python -m benchmarks.throughput.attributes [--trials 60] [--repeats 7] [--storages memory journal sqlite postgresql]

A trial is created in one write with its parameters and its record `llm`, and told: once with the flat attributes beside
the record, as the engine does it, once without them, in turns. Reported are ratios of medians, "with" over "without" of
the same repeat: of that write, and of the whole trial. CPU is that of this process; a database server's own shows in
the wall time alone. Notes are written by `annotate` when all is over, on one trial in five; their CPU is over that of
all trials without flat attributes.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import optuna
from optuna.trial import TrialState, create_trial

from optuna_llm import Reply, Usage
from optuna_llm.engine.records import Signature
from optuna_llm.engine.study.attributes import FLAT_PREFIX, proposal_attributes, signed
from optuna_llm.report import annotate
from optuna_llm.samplers.provenance import EXPLORE, REFINE, guidance_part, provenance

from .storages import STORAGES, StudyPlace, place
from .workload import SPACE, random_params

RATIONALE: Final = (
    "The best rows have a learning rate near 3e-3 and little dropout; none of them tried a narrow network with "
    "so few layers, so this one keeps the rest and halves the width."
)
ONE_IN: Final = 10  # trials fail, and as many took a second call: these get notes


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU and wall seconds."""

    cpu: float
    wall: float

    def over(self, other: "Cost") -> "Cost":
        """How many times as much as another."""
        return Cost(cpu=self.cpu / other.cpu, wall=self.wall / other.wall)

    def less(self, other: "Cost") -> "Cost":
        """How much more than another."""
        return Cost(cpu=self.cpu - other.cpu, wall=self.wall - other.wall)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCosts:
    """A trial's creation alone, and the whole of it."""

    write: Cost
    trial: Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Of one storage, for each repeat: ratios with flat attributes over without, and the trial without them.

    `notes` is what they cost at the end, for each trial of the study.
    """

    writes: Sequence[Cost]
    trials: Sequence[Cost]
    bare: Sequence[Cost]
    notes: Cost


def record(number: int) -> dict[str, Any]:
    """The user attributes of a proposal of usual length, as the engine stores them."""
    replies = [Reply(text="{}", usage=Usage(prompt_tokens=1200, completion_tokens=80, cost=6e-4), latency=1.5)]
    llm = provenance(
        model="openai/gpt-5.4-mini",
        role=REFINE if number % 2 else EXPLORE,
        rationale=RATIONALE,
        counts={"complete": number, "pruned": 0, "failed": 0, "running": 7},
        repairs=(),
        replies=replies * (2 if number % ONE_IN == 1 else 1),
        guidance=guidance_part("adaptive", "plain"),
    )
    return proposal_attributes({**llm, "staleness": 3, **signed(Signature(run="3f9a1c20b7de", worker=number % 8))})


def without_flat(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The record alone."""
    return {name: value for name, value in attributes.items() if not name.startswith(FLAT_PREFIX)}


def trial_costs(study: optuna.Study, number: int, part: Callable[[Any], Any] = dict) -> TrialCosts:
    """Create and tell a trial, with this part of its attributes."""
    rng, failed = random.Random(number), number % ONE_IN == 0
    template = create_trial(
        state=TrialState.RUNNING, params=random_params(rng), distributions=SPACE, user_attrs=part(record(number))
    )
    began = now()
    trial_id = study._storage.create_new_trial(study._study_id, template_trial=template)
    written = now()
    value, state = (None, TrialState.FAIL) if failed else (rng.random(), None)
    study.tell(optuna.Trial(study, trial_id), value, state=state)
    return TrialCosts(write=written.less(began), trial=now().less(began))


def now() -> Cost:
    """What this process has spent so far."""
    return Cost(cpu=time.process_time(), wall=time.perf_counter())


def median(costs: Iterable[Cost]) -> Cost:
    """The median of either time."""
    cpu, wall = zip(*((cost.cpu, cost.wall) for cost in costs), strict=True)
    return Cost(cpu=statistics.median(cpu), wall=statistics.median(wall))


def measure(where: StudyPlace, n: int, repeats: int) -> Result:
    """A trial of one kind, then one of the other, on a study for each; one repeat before is not counted."""
    flat, bare = where.study(), where.study()
    turns: list[tuple[optuna.Study, Callable[[Any], Any]]] = [(flat, dict), (bare, without_flat)]
    writes, trials, without = [], [], []
    for repeat in range(repeats + 1):
        costs: dict[optuna.Study, list[TrialCosts]] = {flat: [], bare: []}
        for number in range(repeat * n, (repeat + 1) * n):
            for study, part in turns[:: 1 if number % 2 else -1]:
                costs[study].append(trial_costs(study, number, part))
        writes.append(median(one.write for one in costs[flat]).over(median(one.write for one in costs[bare])))
        without.append(median(one.trial for one in costs[bare]))
        trials.append(median(one.trial for one in costs[flat]).over(without[-1]))
    began = now()
    annotate(flat)
    notes, made = now().less(began), (repeats + 1) * n
    return Result(
        writes=writes[1:],
        trials=trials[1:],
        bare=without[1:],
        notes=Cost(cpu=notes.cpu / made, wall=notes.wall / made),
    )


def table(results: Mapping[str, Result]) -> Iterator[str]:
    """Lines of Markdown."""
    yield "| storage | write, CPU | write, wall | trial, CPU | trial, wall | trial without, CPU ms | notes, CPU |"
    yield "|---|---|---|---|---|---|---|"
    for name, one in results.items():
        ratios = " | ".join(
            _spread([getattr(ratio, kind) for ratio in costs])
            for costs in (one.writes, one.trials)
            for kind in ("cpu", "wall")
        )
        bare = statistics.median(cost.cpu for cost in one.bare)
        yield f"| {name} | {ratios} | {1000 * bare:.1f} | {one.notes.cpu / bare:.2f} |"


def _spread(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What flat attributes cost a trial, and notes a run.")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--storages", nargs="+", choices=STORAGES, default=STORAGES)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = {}
    for name in arguments.storages:
        with place(name) as where:
            found[name] = measure(where, arguments.trials, arguments.repeats)
    print("\n".join(table(found)))
