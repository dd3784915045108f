"""How a finished trial was guided, read back from its attribute `llm`."""

from dataclasses import dataclass

from optuna.trial import FrozenTrial

from ...engine.records import as_amount
from ...engine.study.attributes import llm_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Guided:
    """How a trial was guided: by which strategy and form ("menu", "words"), in which role, and how well it obeyed.

    `proposed`: it comes from the model. `stumbled`: that took more than one call, or it is a duplicate all the same.
    """

    proposed: bool = False
    stumbled: bool = False

    strategy: str | None = None
    form: str | None = None
    role: str | None = None
    inside: float | None = None


def read(trial: FrozenTrial) -> Guided:
    """What a trial's record says; nothing of it is trusted to be there."""
    llm = llm_of(trial)
    inside = as_amount(llm.get("inside"))
    return Guided(
        proposed=bool(llm.get("calls")),
        stumbled=bool(llm.get("reasks")) or llm.get("duplicate_of") is not None,
        strategy=_text(llm.get("strategy")),
        form=_text(llm.get("form")),
        role=_text(llm.get("role")),
        inside=None if inside is None else min(1.0, inside),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
