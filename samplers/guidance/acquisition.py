"""The acquisition function: which candidates are worth a trial, by a Gaussian process over configurations.

The regression is that of Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006), algorithm 2.1, with
the Matern 5/2 kernel and a length scale for each parameter. Length scales are drawn from a prior that grows with the
number of parameters (Hvarfner et al., 2024), and the likeliest draw is taken: as good here as an average of several,
and in need of no optimizer. A candidate is worth its expected improvement (Jones et al., 1998). Configurations in
flight are believed to give what the process expects of them (Ginsbourger et al., 2010), so that open asks look
elsewhere.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np

from ..space.axes import Array, ranks, squared_distances
from ..view.evidence import Evidence, TrialWindow
from .candidates import around, on_grid, uniform
from .strategy import Situation

# Complete trials from which anything is expected: a single value has nothing to be better than.
MIN_COMPLETE: Final = 2

# The surrogate learns from so many of the newest trials and as many of the best before them. A fit grows with the cube
# of the number of trials, and a whole proposal may take 2.5 ms of CPU.
MAX_LEARNED: Final = 20

# Configurations in flight that the surrogate knows of, the newest ones: about as many as trials, so that hundreds of
# workers do not make each proposal dearer.
MAX_PENDING: Final = 32

# The prior of the length scales: its median with one parameter, half a range, which grows with the square root of
# their number as distances do; and the standard deviation of a scale's logarithm, so that two thirds of the draws are
# within a factor of e.
MEDIAN_SCALE: Final = 0.5
LOG_SCALE_DEVIATION: Final = 1.0

# Variances of the noise, as shares of the signal's, that draws take in turn: from a function to a noisy measurement.
NOISE_VARIANCES: Final = (0.001, 0.01, 0.1)

# How many scales are drawn: 160 were no better than 32 (docs/design/01). Fewer with many trials, so that all kernel
# matrices of a fit have about so many entries, and its time stays in milliseconds; with fewer than 4 it is chance.
MAX_DRAWS: Final = 32
MIN_DRAWS: Final = 4
MATRIX_ENTRIES: Final = 20_000

# Multiplications of a matrix product that the usual BLAS does not give to several threads: their wake-ups cost more
# than the work, and on busy cores tens of milliseconds.
SERIAL_MULTIPLICATIONS: Final = 200_000

# Bounds of the signal's variance. Responses have about 1; a few trials must not claim much more or less.
MIN_VARIANCE: Final = 0.3
MAX_VARIANCE: Final = 3.0

# Share of the process' variance that is always left: rounding may leave less than nothing at a trial.
MIN_UNCERTAINTY: Final = 1e-9

# Deviation, relative to the largest value, below which all values are equal: less than that is rounding.
EQUAL_WITHIN: Final = 1e-12

# Free trials that are judged together, and as many that came before them: fewer say little of a model.
JUDGED: Final = 5

# The surrogate's own candidates for that: so many everywhere, and as many around the best trial, by steps of so much.
OWN_DRAWN: Final = 64
OWN_STEP: Final = 0.3

# Quantile of the losses at which worse ones are cut off: how bad a bad trial is says little about good ones.
CLIP_QUANTILE: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """A kernel: the `weights` of squared distances along the coordinates, and the variance of the noise."""

    weights: Array
    noise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What candidates are worth, higher for better ones, comparable within one outlook only; and their expected values.

    `values` is None before anything is expected.
    """

    worth: Array
    values: Array | None = None


def outlook_of(situation: Situation, candidates: Array) -> Outlook:
    """The worth of candidates (rows of places), and the objective's value that is expected of each.

    The worth is the expected improvement (Jones et al., 1998); before there are values, the squared distance from
    everything tried (maximin: Johnson et al., 1990).
    """
    evidence = situation.evidence
    embedding = evidence.embedding
    learned = learnable(situation.newest)
    informed = evidence.complete >= MIN_COMPLETE and len(learned.losses)
    others = [learned.places, situation.pending[-MAX_PENDING:]] if informed else [situation.taken]
    points = embedding.points(np.concatenate([candidates, *others]))
    wanted, taken = np.split(points, [len(candidates)])
    if not informed:
        return Outlook(worth=squared_distances(wanted, taken).min(axis=1) if len(taken) else np.zeros(len(wanted)))
    tried, pending = np.split(taken, [len(learned.losses)])
    values = responses(learned.losses)
    surrogate = Surrogate(tried, values, evidence.cached_per_step(_scales), pending)
    means, deviations = surrogate.predict(wanted)
    worth = surrogate.improvements(means, deviations)
    known = np.flatnonzero(np.isfinite(learned.losses))
    if not len(known):  # all values are infinite
        return Outlook(worth=worth)
    order = known[np.argsort(values[known], kind="stable")]
    losses = np.interp(means, values[order], learned.losses[order])  # none is beyond those that were seen
    return Outlook(worth=worth, values=evidence.values_of(losses))


def shortfall(evidence: Evidence, newest: TrialWindow) -> float:
    """How much worse the last free proposals were than what the surrogate expected of its own candidate before them.

    In standard deviations of the responses, by the median of `JUDGED` free trials. The surrogate learns from the trials
    that the model had seen when it proposed these. Not above 0 with too few of them, nor where these are better than
    most of those: a model that still makes progress explores as well.
    """
    free = np.flatnonzero(newest.free)[-JUDGED:]
    if len(free) < JUDGED:
        return 0.0
    placed = np.flatnonzero(~np.isnan(newest.places).all(axis=1))
    before = placed[placed < newest.seen[free].min()][-2 * MAX_LEARNED :]
    if len(before) < JUDGED:
        return 0.0
    rows = np.concatenate([before, free])
    values = responses(newest.losses[rows])
    usual, lately = np.median(values[: len(before)]), float(np.median(values[len(before) :]))
    if lately < usual:
        return 0.0
    embedding, axes = evidence.embedding, evidence.axes
    rng = np.random.default_rng(len(rows))
    points = embedding.points(newest.places[before])
    scales = likely_scales(points, newest.losses[before], embedding.owners, rng)
    surrogate = Surrogate(points, values[: len(before)], scales, points[:0])
    base = newest.places[before[int(np.argmin(values[: len(before)]))]]
    columns = np.flatnonzero(~np.isnan(base)).tolist()
    drawn = np.concatenate([uniform(axes, rng, OWN_DRAWN), around(axes, base, columns, OWN_STEP, rng, OWN_DRAWN)])
    means, deviations = surrogate.predict(embedding.points(on_grid(axes, drawn)))
    own = float(means[int(np.argmax(surrogate.improvements(means, deviations)))])
    return lately - own


def learnable(newest: TrialWindow) -> TrialWindow:
    """The newest trials and the best of those before them; none that has no place on any axis."""
    newest = newest.only(np.flatnonzero(~np.isnan(newest.places).all(axis=1)))
    count = len(newest.losses)
    if count <= 2 * MAX_LEARNED:
        return newest
    best = np.argsort(newest.losses[:-MAX_LEARNED], kind="stable")[:MAX_LEARNED]  # NaN comes last
    return newest.only(np.concatenate([np.sort(best), np.arange(count - MAX_LEARNED, count)]))


def _scales(evidence: Evidence, newest: TrialWindow) -> Scales:
    learned, embedding = learnable(newest), evidence.embedding
    rng = np.random.default_rng(len(learned.losses))
    return likely_scales(embedding.points(learned.places), learned.losses, embedding.owners, rng)


def responses(losses: Array) -> Array:
    """Losses as the process sees them: the mean of their normal scores by rank and of the standardized values.

    Trials without a loss (failed or pruned) count as bad as the worst.
    """
    known = losses[np.isfinite(losses)]
    if not len(known):
        return np.zeros(len(losses))
    filled = np.clip(np.where(np.isnan(losses), np.inf, losses), known.min(), known.max())
    clipped = np.minimum(filled, np.sort(filled)[round(CLIP_QUANTILE * (len(filled) - 1))])
    return (_standardized(clipped) + _normal_scores(filled)) / 2


def likely_scales(points: Array, losses: Array, owners: Array, rng: "np.random.Generator") -> Scales:
    """Draw scales from the prior, and take those under which these trials are likeliest.

    `owners` says of which parameter each coordinate of `points` is.
    """
    parameters = int(owners.max()) + 1
    count = max(MIN_DRAWS, min(MAX_DRAWS, MATRIX_ENTRIES // max(1, len(points) ** 2)))
    median = MEDIAN_SCALE * math.sqrt(parameters)
    drawn = median * np.exp(LOG_SCALE_DEVIATION * rng.standard_normal((count, parameters)))
    drawn[0] = median
    weights = drawn[:, owners] ** -2
    noises = np.resize(NOISE_VARIANCES, count)
    best = 0
    if len(points):
        matrices = covariances(points * np.sqrt(weights)[:, None, :], noises[:, None])
        best = int(log_likelihoods(matrices, responses(losses)).argmax())
    return Scales(weights=weights[best], noise=float(noises[best]))


class Surrogate:
    """What is expected of configurations, given the responses (`values`) at some `points`, and what is `pending`.

    A pending configuration is believed to give its expected mean: it changes the uncertainty, and the value to beat. So
    means follow from the trials alone, and deviations from all points together.
    """

    def __init__(self, points: Array, values: Array, scales: Scales, pending: Array) -> None:
        self._roots = np.sqrt(scales.weights)
        self._points = np.concatenate([points, pending]) * self._roots
        matrix, count = covariances(self._points, scales.noise), len(points)
        self._precision = np.linalg.inv(matrix)
        self._solved = np.linalg.solve(matrix[:count, :count], values)
        self.variance = min(MAX_VARIANCE, max(MIN_VARIANCE, float(self._solved @ values) / count))
        beliefs = matrix[count:, :count] @ self._solved
        self._incumbent = min(values.min(), beliefs.min(initial=np.inf))

    def improvements(self, means: Array, deviations: Array) -> Array:
        """The expected improvement on the incumbent of what was predicted, in standard deviations of the responses."""
        gains = (self._incumbent - means) / deviations
        densities = np.exp(-0.5 * gains**2) / math.sqrt(2 * math.pi)
        return np.asarray(deviations * (gains * _normal_cdf(gains) + densities))

    def predict(self, candidates: Array) -> tuple[Array, Array]:
        """Means and standard deviations of the responses."""
        count = max(1, SERIAL_MULTIPLICATIONS // (len(self._points) * max(self._points.shape)))
        parts = [self._predict(candidates[i : i + count]) for i in range(0, len(candidates), count)]
        means, deviations = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return means, deviations

    def _predict(self, candidates: Array) -> tuple[Array, Array]:
        shared = matern(squared_distances(self._points, candidates * self._roots))
        left = 1.0 - (shared * (self._precision @ shared)).sum(axis=0)
        means = self._solved @ shared[: len(self._solved)]
        return means, np.sqrt(self.variance * np.maximum(MIN_UNCERTAINTY, left))


def covariances(points: Array, noises: Array | float) -> Array:
    """Covariances of points in the kernel's scale, with the noise on the diagonal; a matrix for each leading index."""
    matrices = matern(squared_distances(points, points))
    diagonal = np.arange(points.shape[-2])
    matrices[..., diagonal, diagonal] = 1.0 + noises
    return matrices


def log_likelihoods(matrices: Array, values: Array) -> Array:
    """The values' log likelihood under each kernel with its likeliest variance, up to a constant."""
    factors = np.linalg.cholesky(matrices)
    columns = np.broadcast_to(values, (len(factors), len(values)))[..., None]
    squares = (np.linalg.solve(factors, columns)[..., 0] ** 2).sum(axis=1)
    variances = np.clip(squares / len(values), MIN_VARIANCE, MAX_VARIANCE)
    determinants = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
    return np.asarray(-0.5 * squares / variances - 0.5 * len(values) * np.log(variances) - determinants)


def matern(squared: Array) -> Array:
    """The Matern 5/2 kernel of squared distances."""
    scaled = np.sqrt(5 * squared)
    return np.asarray((1 + scaled + scaled**2 / 3) * np.exp(-scaled))


def _standardized(values: Array) -> Array:
    """The values with mean 0 and deviation 1; all 0 where they hardly differ."""
    largest = float(np.abs(values).max())
    scaled = values / largest if largest else values  # squares of very large ones overflow
    deviation = float(scaled.std())
    return (scaled - scaled.mean()) / deviation if deviation > EQUAL_WITHIN else np.zeros(len(values))


def _normal_scores(values: Array) -> Array:
    """The quantiles of the normal distribution at the values' ranks; ties share theirs."""
    shares = (ranks(values) + 0.5) / len(values)
    return np.array([_normal_quantile(share) for share in shares.tolist()])


# Once the surrogate learns from as many trials as it may, every ask has the same shares.
@lru_cache(maxsize=1024)
def _normal_quantile(share: float) -> float:
    return NormalDist().inv_cdf(share)


def _normal_cdf(values: Array) -> Array:
    scaled = (values / math.sqrt(2)).ravel().tolist()
    return np.array([math.erf(value) for value in scaled]).reshape(values.shape) / 2 + 0.5
