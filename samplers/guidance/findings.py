"""What one look at the evidence finds; each ask looks once."""

from dataclasses import dataclass

from .coverage import Gap, gaps
from .effects import Effect, effects
from .evidence import Evidence
from .failures import Risk, risks


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Effects of the parameters, untried parts of them, and the parts in which trials fail."""

    effects: tuple[Effect, ...]
    gaps: tuple[Gap, ...]
    risks: tuple[Risk, ...]


def find(evidence: Evidence) -> Findings:
    """All that the newest finished trials show."""
    return Findings(effects=effects(evidence), gaps=gaps(evidence), risks=risks(evidence))
