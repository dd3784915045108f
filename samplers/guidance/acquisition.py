"""How promising candidates are: by what the trials let expect, or by their distance from all others before that."""

from typing import Final

import numpy as np

from ..space.arrays import Array
from ..space.embedding import squared_distances
from ..view.evidence import Evidence, TrialWindow
from .strategy import Situation
from .surrogate import Scales, Surrogate, likely_scales

FEWEST: Final = 2
"""Complete trials from which anything is expected."""

LEARNED: Final = 20
"""The surrogate learns from so many of the best trials, and from as many of the newest."""

BELIEVED: Final = 32
"""Configurations in flight that it knows of, the newest ones."""


def promise(situation: Situation, candidates: Array) -> Array:
    """A number for each candidate (rows of places), higher for more promising ones; comparable within one call only."""
    evidence = situation.evidence
    embedding = evidence.embedding
    points = embedding.points(candidates)
    learned = learnable(evidence.newest)
    if evidence.complete < FEWEST or not len(learned.losses):
        taken = embedding.points(situation.taken)
        return squared_distances(points, taken).min(axis=1) if len(taken) else np.zeros(len(points))
    surrogate = Surrogate(
        embedding.points(learned.places),
        learned.losses,
        evidence.cached_per_step(_scales),
        pending=embedding.points(situation.pending[-BELIEVED:]),
    )
    return surrogate.improvements(points)


def learnable(newest: TrialWindow) -> TrialWindow:
    """The newest trials, and the best of those before; none that has no place."""
    newest = newest.only(np.flatnonzero(~np.isnan(newest.places).all(axis=1)))
    count = len(newest.losses)
    if count <= 2 * LEARNED:
        return newest
    best = np.argsort(newest.losses[:-LEARNED], kind="stable")[:LEARNED]  # NaN comes last
    return newest.only(np.concatenate([np.sort(best), np.arange(count - LEARNED, count)]))


def _scales(evidence: Evidence, newest: TrialWindow) -> Scales:
    learned, embedding = learnable(newest), evidence.embedding
    return likely_scales(
        embedding.points(learned.places), learned.losses, embedding.owners, np.random.default_rng(len(learned.losses))
    )
