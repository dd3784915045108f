"""Random configurations of a search space, the same for the same seed."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution


def draws(space: Mapping[str, BaseDistribution], seed: int, count: int | None = None) -> Iterator[dict[str, Any]]:
    """`count` configurations as Optuna's random sampler draws them; without end if it is not given."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in itertools.repeat(None) if count is None else range(count):
        yield study.ask(dict(space)).params
