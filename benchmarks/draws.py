"""Random configurations of a search space, the same for the same generator."""

import math
import random
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Space = Mapping[str, BaseDistribution]


def draw(space: Space, rng: random.Random) -> dict[str, Any]:
    """A random configuration, uniform in the logarithm where the distribution says so."""
    return {name: _value(distribution, rng) for name, distribution in space.items()}


def _value(distribution: BaseDistribution, rng: random.Random) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return rng.choice(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = distribution.low, distribution.high
    if isinstance(distribution, IntDistribution):
        if distribution.log:
            return min(high, max(low, round(math.exp(rng.uniform(math.log(low - 0.5), math.log(high + 0.5))))))
        return low + distribution.step * rng.randrange((high - low) // distribution.step + 1)
    if distribution.step is not None:
        return min(high, low + distribution.step * rng.randrange(round((high - low) / distribution.step) + 1))
    if distribution.log:
        return min(high, max(low, math.exp(rng.uniform(math.log(low), math.log(high)))))
    return rng.uniform(low, high)
