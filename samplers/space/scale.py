"""Distributions measured: where a number lies in its range, and how many values there are."""

import math

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

SMALLEST = 5e-324  # the smallest float: a value of an older, linear range may have no logarithm


def to_unit(value: float, distribution: FloatDistribution | IntDistribution) -> float:
    """Say where a value lies in the (log) range: 0 at its low end, 1 at its high one; 0 if both are the same."""
    low, high = distribution.low, distribution.high
    if low == high:
        return 0.0
    if distribution.log:
        return (math.log(max(value, SMALLEST)) - math.log(low)) / (math.log(high) - math.log(low))
    return (value - low) / (high - low)


def from_unit(place: float, distribution: FloatDistribution | IntDistribution) -> float:
    """Find the number that lies at `place` of the (log) range; it may be beside the grid."""
    low, high = distribution.low, distribution.high
    if distribution.log:
        return math.exp(math.log(low) + place * (math.log(high) - math.log(low)))
    return low + place * (high - low)


def count_values(distribution: BaseDistribution) -> float:
    """Count the values that a parameter can have; infinite if it is continuous."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.single():
        return 1
    if distribution.step is None:
        return math.inf
    return round((distribution.high - distribution.low) / distribution.step) + 1
