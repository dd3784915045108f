"""The acquisition function: which candidates are worth a trial."""

from typing import Final

import numpy as np

from ..space.axes import Array, squared_distances
from ..view.evidence import Evidence, TrialWindow
from .strategy import Situation
from .surrogate import Scales, Surrogate, likely_scales

# Complete trials from which anything is expected: a single value has nothing to be better than.
MIN_COMPLETE: Final = 2

# The surrogate learns from so many of the newest trials and as many of the best before them. A fit grows with the cube
# of the number of trials, and a whole proposal may take 2.5 ms of CPU.
MAX_LEARNED: Final = 20

# Configurations in flight that the surrogate knows of, the newest ones: about as many as trials, so that hundreds of
# workers do not make each proposal dearer.
MAX_PENDING: Final = 32


def acquisition_values(situation: Situation, candidates: Array) -> Array:
    """A number for each candidate (rows of places), higher for better ones; comparable within one call only.

    It is the expected improvement (Jones et al., 1998); before there are values, the squared distance from everything
    tried (maximin: Johnson et al., 1990).
    """
    evidence = situation.evidence
    embedding = evidence.embedding
    points = embedding.points(candidates)
    learned = learnable(evidence.newest)
    if evidence.complete < MIN_COMPLETE or not len(learned.losses):
        taken = embedding.points(situation.taken)
        return squared_distances(points, taken).min(axis=1) if len(taken) else np.zeros(len(points))
    surrogate = Surrogate(
        embedding.points(learned.places),
        learned.losses,
        evidence.cached_per_step(_scales),
        pending=embedding.points(situation.pending[-MAX_PENDING:]),
    )
    return surrogate.improvements(points)


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
