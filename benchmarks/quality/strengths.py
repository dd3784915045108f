"""Models of known strength: how soon the default strategy finds out what a model needs, and what that costs.

python -m benchmarks.quality.strengths --seeds 30 --trials 40
python -m benchmarks.quality.strengths --models sits,copies --strategies plain,adaptive --workers 8

Each model knows the objective, a turned bowl with a choice, and uses that as its kind says. A menu is answered alike by
all of them: the first candidate in six of ten asks, else any; two kinds decline each menu that they may. Reported are
the mean best value so far (0 is about the least possible), calls a trial, the share of duplicates, and the share of
menus in each quarter of the trials.
"""

import argparse
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from optuna_llm import AsyncTrial, FunctionClient, LLMGuidedSampler, Request, optimize_async
from optuna_llm.samplers.space.menu_reply import NONE_OF_THEM

NUMBERS: Final = ("a", "b", "c", "d")
KINDS: Final = ("u", "v", "w")
SPACE: Final[Mapping[str, BaseDistribution]] = {
    **{name: FloatDistribution(0, 1) for name in NUMBERS},
    "kind": CategoricalDistribution(KINDS),
}


class Bowl:
    """An objective with its best place anywhere: a turned bowl, and a wrong kind costs 0.3."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.best: dict[str, Any] = {name: rng.random() for name in NUMBERS} | {"kind": rng.choice(KINDS)}
        self._weights = [rng.uniform(0.3, 3) for _ in NUMBERS]
        self._turn = rng.uniform(-0.5, 0.5)

    def __call__(self, params: Mapping[str, Any]) -> float:
        away = [params[name] - self.best[name] for name in NUMBERS]
        bowl = sum(weight * step**2 for weight, step in zip(self._weights, away, strict=True))
        return float(bowl + self._turn * away[0] * away[1] + 0.3 * (params["kind"] != self.best["kind"]))


class Model:
    """Answers requests as its kind does; it is told every result."""

    declines = False

    def __init__(self, bowl: Bowl, seed: int) -> None:
        self.bowl = bowl
        self.rng = random.Random(1000 + seed)
        self.results: list[tuple[float, dict[str, Any]]] = []
        self.start(self.anywhere())

    def __call__(self, request: Request) -> dict[str, Any]:
        number = request.schema["properties"].get("candidate")
        if number is None:
            return {"rationale": "", **self.propose()}
        if self.declines and NONE_OF_THEM in number["enum"]:
            return {"rationale": "", "candidate": NONE_OF_THEM}
        count = max(number["enum"])
        return {"rationale": "", "candidate": 1 if self.rng.random() < 0.6 else self.rng.randint(1, count)}

    def start(self, first: dict[str, Any]) -> None:
        """Begin with a guess of one's own, for kinds that keep it."""

    def propose(self) -> dict[str, Any]:
        raise NotImplementedError

    def anywhere(self) -> dict[str, Any]:
        return {name: self.rng.random() for name in NUMBERS} | {"kind": self.rng.choice(KINDS)}

    def near_best(self, deviation: float) -> dict[str, Any]:
        numbers = {name: self.bowl.best[name] + self.rng.gauss(0, deviation) for name in NUMBERS}
        kind = self.bowl.best["kind"] if self.rng.random() < 0.9 else self.rng.choice(KINDS)
        return {name: min(1.0, max(0.0, number)) for name, number in numbers.items()} | {"kind": kind}


class Knows(Model):
    """Knows the optimum, with noise, and learns nothing."""

    def propose(self) -> dict[str, Any]:
        return self.near_best(0.08)


class Learns(Model):
    """Comes nearer to the optimum with every result."""

    def propose(self) -> dict[str, Any]:
        return self.near_best(0.35 * 0.87 ** len(self.results) + 0.003)


class Draws(Model):
    """Draws at random."""

    def propose(self) -> dict[str, Any]:
        return self.anywhere()


class Sits(Model):
    """Gives its first guess again three times in four, and else changes one number of it."""

    def start(self, first: dict[str, Any]) -> None:
        self.first = first

    def propose(self) -> dict[str, Any]:
        changed = {self.rng.choice(NUMBERS): self.rng.random()} if self.rng.random() < 0.25 else {}
        return {**self.first, **changed}


class Hugs(Model):
    """Stays near its first guess, which it never repeats: it is sure of what is wrong."""

    def start(self, first: dict[str, Any]) -> None:
        self.first = first

    def propose(self) -> dict[str, Any]:
        moved = {name: min(1.0, max(0.0, self.first[name] + self.rng.gauss(0, 0.1))) for name in NUMBERS}
        return {**self.first, **moved}


class Copies(Model):
    """Copies the best row seven times in ten."""

    def propose(self) -> dict[str, Any]:
        copied = self.results and self.rng.random() < 0.7
        return dict(min(self.results, key=lambda result: result[0])[1]) if copied else self.anywhere()


class LearnsAndDeclines(Learns):
    """Comes nearer with every result, and takes no menu that it may decline: as strong models do."""

    declines = True


class HugsAndDeclines(Hugs):
    """Stays near a wrong guess, and takes no menu that it may decline: the worst that a menu to decline can meet."""

    declines = True


class DrawsThenKnows(Model):
    """Gets better after ten trials: it drew at random before."""

    def propose(self) -> dict[str, Any]:
        return self.anywhere() if len(self.results) < 10 else self.near_best(0.05)


class SitsThenKnows(Sits):
    """Gets better after ten trials: it sat on its first guess before."""

    def propose(self) -> dict[str, Any]:
        return super().propose() if len(self.results) < 10 else self.near_best(0.05)


MODELS: Final[Mapping[str, type[Model]]] = {
    "knows": Knows,
    "learns": Learns,
    "draws": Draws,
    "sits": Sits,
    "hugs": Hugs,
    "copies": Copies,
    "draws-then-knows": DrawsThenKnows,
    "sits-then-knows": SitsThenKnows,
    "learns-declines": LearnsAndDeclines,
    "hugs-declines": HugsAndDeclines,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One study: values and forms in order of the trials, with what they took."""

    values: Sequence[float]
    forms: Sequence[str] = field(repr=False)
    calls: float
    duplicates: float

    def best(self, count: int) -> float:
        return float(np.minimum.accumulate(self.values)[count - 1])

    def menus(self, quarter: int) -> float:
        """The share of menus in a quarter of the trials, 0 to 3."""
        size = len(self.forms) // 4
        return statistics.mean(form == "menu" for form in self.forms[quarter * size : (quarter + 1) * size])


async def study_of(name: str, strategy: str, seed: int, *, trials: int, workers: int = 1) -> Outcome:
    """Let one model answer one study."""
    bowl = Bowl(seed)
    model = MODELS[name](bowl, seed)

    async def objective(trial: AsyncTrial) -> float:
        params = dict(trial.params)
        model.results.append((bowl(params), params))
        return model.results[-1][0]

    sampler = LLMGuidedSampler(FunctionClient(model), strategy=strategy, seed=seed)
    study = optuna.create_study(sampler=sampler)
    report = await optimize_async(study, objective, n_trials=trials, n_workers=workers, search_space=SPACE)
    return Outcome(
        values=[trial.values[0] for trial in study.trials],
        forms=[trial.user_attrs["llm"]["form"] for trial in study.trials],
        calls=report.llm_calls / trials,
        duplicates=report.duplicates / trials,
    )


def line(name: str, strategy: str, outcomes: Sequence[Outcome], trials: int) -> str:
    """A row of the table."""
    mean = statistics.mean
    at = [f"{mean(outcome.best(count) for outcome in outcomes):.4f}" for count in (trials // 4, trials // 2, trials)]
    menus = " ".join(f"{mean(outcome.menus(quarter) for outcome in outcomes):.2f}" for quarter in range(4))
    calls, duplicates = mean(o.calls for o in outcomes), mean(o.duplicates for o in outcomes)
    return f"| {name} | {strategy} | {' | '.join(at)} | {calls:.2f} | {duplicates:.3f} | {menus} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.quality.strengths", description="Models of known strength.")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--strategies", default="plain,menu,adaptive")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(arguments)
    count = options.trials
    print(f"| model | strategy | {count // 4} | {count // 2} | {count} | calls | duplicates | menus by quarter |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.models.split(","):
        for strategy in options.strategies.split(","):
            outcomes = [
                anyio.run(lambda: study_of(name, strategy, seed, trials=count, workers=options.workers))  # noqa: B023
                for seed in range(options.seeds)
            ]
            print(line(name, strategy, outcomes, count), flush=True)


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    main()
