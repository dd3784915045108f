"""A Gaussian process over configurations: where it expects better values than the best one so far.

The regression is that of Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006), algorithm 2.1, with
the Matern 5/2 kernel and a length scale for each parameter. Scales are drawn from a prior that grows with the number of
parameters (Hvarfner et al., 2024), and those under which the trials are likeliest are taken: as good here as an
average of several, and in need of no library. What a configuration is worth is its expected improvement (Jones et al.,
1998); configurations in flight are believed to give what the process expects of them (Ginsbourger et al., 2010), so
that asks that are open together look elsewhere.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np

from ..space.arrays import Array, ranks
from ..space.embedding import squared_distances

TYPICAL_SCALE: Final = 0.5
"""Median length scale with one parameter; it grows with the square root of their number."""

SPREAD: Final = 1.0
"""Standard deviation of a scale's logarithm."""

NOISES: Final = (0.001, 0.01, 0.1)
"""Variances of the noise, as shares of the signal's, that draws take in turn."""

DRAWS: Final = 32
FEWEST: Final = 4
WORK: Final = 20_000
"""Entries of all kernel matrices of a fit, about: with many trials fewer scales are drawn."""

SERIAL: Final = 200_000
"""Multiplications of a matrix product that the usual BLAS does not give to several threads: their wake-ups cost more
than the work, and on busy cores tens of milliseconds.
"""

NORMAL: Final = NormalDist()
VARIANCES: Final = (0.3, 3.0)
"""Bounds of the signal's variance, where responses have about 1."""

SAME: Final = 1e-12
"""Deviation, relative to the largest value, below which all are taken to be equal."""

CLIPPED: Final = 0.8
"""Quantile of the losses at which worse ones are cut off: how bad a bad trial is says little about good ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """A kernel: the `weights` of squared distances along the coordinates, and the variance of the noise."""

    weights: Array
    noise: float


def responses(losses: Array) -> Array:
    """Losses as the process sees them: the mean of their normal scores by rank and of the standardized values.

    Trials without a loss (failed or pruned) count as bad as the worst.
    """
    known = losses[np.isfinite(losses)]
    if not len(known):
        return np.zeros(len(losses))
    filled = np.clip(np.where(np.isnan(losses), np.inf, losses), known.min(), known.max())
    clipped = np.minimum(filled, np.sort(filled)[round(CLIPPED * (len(filled) - 1))])
    return (_standardized(clipped) + _normal_scores(filled)) / 2


def likely_scales(points: Array, losses: Array, owners: Array, rng: np.random.Generator) -> Scales:
    """The likeliest of scales that are drawn from the prior, for these trials.

    `owners` says of which parameter each coordinate of `points` is.
    """
    parameters = int(owners.max()) + 1
    count = max(FEWEST, min(DRAWS, WORK // max(1, len(points) ** 2)))
    typical = TYPICAL_SCALE * math.sqrt(parameters)
    drawn = typical * np.exp(SPREAD * rng.standard_normal((count, parameters)))
    drawn[0] = typical
    weights = drawn[:, owners] ** -2
    noises = np.resize(NOISES, count)
    if not len(points):
        return Scales(weights=weights[0], noise=float(noises[0]))
    covariances = _covariances(points * np.sqrt(weights)[:, None, :], noises[:, None])
    best = int(_log_likelihoods(covariances, responses(losses)).argmax())
    return Scales(weights=weights[best], noise=float(noises[best]))


class Surrogate:
    """What is expected of configurations, given the `losses` at some `points`, and those that are `pending`.

    A pending configuration is believed to give the mean that is expected of it: what it changes is the uncertainty, and
    what has to be beaten. So means follow from the trials alone, and deviations from all points together.
    """

    def __init__(self, points: Array, losses: Array, scales: Scales, pending: Array) -> None:
        values = responses(losses)
        self._roots = np.sqrt(scales.weights)
        self._points = np.concatenate([points, pending]) * self._roots
        covariances, seen = _covariances(self._points, scales.noise), len(points)
        self._precision = np.linalg.inv(covariances)
        self._solved = np.linalg.solve(covariances[:seen, :seen], values)
        self._variance = min(VARIANCES[1], max(VARIANCES[0], float(self._solved @ values) / seen))
        beliefs = covariances[seen:, :seen] @ self._solved
        self._best = min(values.min(), beliefs.min(initial=np.inf))

    def improvements(self, candidates: Array) -> Array:
        """The expected improvement of each candidate on the best trial, in standard deviations of the responses."""
        means, deviations = self.predict(candidates)
        gains = (self._best - means) / deviations
        densities = np.exp(-0.5 * gains**2) / math.sqrt(2 * math.pi)
        return np.asarray(deviations * (gains * _normal_cdf(gains) + densities))

    def predict(self, candidates: Array) -> tuple[Array, Array]:
        """Means and standard deviations of the responses."""
        count = max(1, SERIAL // (len(self._points) * max(self._points.shape)))
        parts = [self._predict(candidates[i : i + count]) for i in range(0, len(candidates), count)]
        means, deviations = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return means, deviations

    def _predict(self, candidates: Array) -> tuple[Array, Array]:
        scaled = candidates * self._roots
        covariances = _matern(squared_distances(self._points, scaled))
        left = 1.0 - (covariances * (self._precision @ covariances)).sum(axis=0)
        means = self._solved @ covariances[: len(self._solved)]
        return means, np.sqrt(self._variance * np.maximum(1e-9, left))


def _covariances(points: Array, noises: Array | float) -> Array:
    """Between points in the kernel's scale, with the noise on the diagonal; one matrix for each leading index."""
    found = _matern(squared_distances(points, points))
    diagonal = np.arange(points.shape[-2])
    found[..., diagonal, diagonal] = 1.0 + noises
    return found


def _log_likelihoods(covariances: Array, values: Array) -> Array:
    """Of the values under each kernel with its likeliest variance, up to a constant."""
    factors = np.linalg.cholesky(covariances)
    columns = np.broadcast_to(values, (len(factors), len(values)))[..., None]
    squares = (np.linalg.solve(factors, columns)[..., 0] ** 2).sum(axis=1)
    variances = np.clip(squares / len(values), *VARIANCES)
    determinants = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
    return np.asarray(-0.5 * squares / variances - 0.5 * len(values) * np.log(variances) - determinants)


def _matern(squared: Array) -> Array:
    scaled = np.sqrt(5 * squared)
    return np.asarray((1 + scaled + scaled**2 / 3) * np.exp(-scaled))


def _standardized(values: Array) -> Array:
    """With mean 0 and deviation 1; all 0 where they hardly differ."""
    largest = float(np.abs(values).max())
    scaled = values / largest if largest else values  # squares of very large ones overflow
    deviation = float(scaled.std())
    return (scaled - scaled.mean()) / deviation if deviation > SAME else np.zeros(len(values))


def _normal_scores(values: Array) -> Array:
    """The quantiles of the normal distribution at the values' ranks; ties share theirs."""
    shares = (ranks(values) + 0.5) / len(values)
    return np.array([_normal_quantile(share) for share in shares.tolist()])


@lru_cache(maxsize=1024)
def _normal_quantile(share: float) -> float:
    """Kept, because once enough is learned from, the shares are the same in every ask."""
    return NORMAL.inv_cdf(share)


def _normal_cdf(values: Array) -> Array:
    return (
        np.array([math.erf(value / math.sqrt(2)) for value in values.ravel().tolist()]).reshape(values.shape) / 2 + 0.5
    )
