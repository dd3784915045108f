"""What one look at the evidence finds."""

from dataclasses import dataclass

from ..view.evidence import Evidence
from .effects import Effect, effects
from .failures import Risk, risks


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Effects of the parameters, and the parts of them in which trials fail."""

    effects: tuple[Effect, ...]
    risks: tuple[Risk, ...]


def find(evidence: Evidence) -> Findings:
    """All that the newest finished trials show."""
    return Findings(effects=effects(evidence), risks=risks(evidence))
