"""One ask, from a snapshot to a reserved proposal: render, complete, parse, conform, and re-ask what was wrong."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.study import StudyDirection

from ..engine.errors import ProposalError
from ..engine.history import Snapshot
from ..engine.records import Params, Proposal
from .client.protocol import Client, Reply, Request
from .context import ContextPolicy, Counts, build_context
from .digest import Digest
from .prompt import Message, Subject, render, render_reask
from .provenance import Spent, provenance
from .reply import Parsed, parse
from .schema import json_schema
from .space import Conformed, Space, conform

logger = logging.getLogger("optuna_llm.samplers")

TOKENS_BASE = 256
TOKENS_PER_PARAMETER = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What one ask is about. `space` is what the model chooses, `fixed` what it is told."""

    snapshot: Snapshot
    space: Space
    direction: StudyDirection
    subject: Subject
    policy: ContextPolicy
    role: str
    fixed: Params = field(default_factory=dict)
    seed: int | None = None
    max_reasks: int = 2
    earlier: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A reply, read: the configuration if it is one, else what is wrong with it."""

    conformed: Conformed | None = None
    rationale: str | None = None
    violations: tuple[str, ...] = field(default=())


async def propose(question: Question, client: Client, digest: Digest, name: str) -> Proposal:
    """Ask until the reply is a valid configuration; raises `ProposalError` after `max_reasks` re-asks.

    `name` is the model's, for provenance and errors. Nothing is asked if there is nothing to choose.
    """
    context = build_context(question.snapshot, digest, question.policy)
    spent = Spent()
    schema = json_schema(question.space)
    if question.space.fixed.keys() == question.space.distributions.keys():
        return _proposal(question, Verdict(conformed=conform({}, question.space)), spent, context.counts, name)
    messages: list[Message] = render(context, question.space, question.subject, question.fixed)
    while True:
        reply = await client.complete(_request(question, messages, schema))
        spent.add(reply)
        verdict = read(reply, question.space)
        if not verdict.violations:
            return _proposal(question, verdict, spent, context.counts, reply.model or name)
        logger.debug("Reply %d of %s refused: %s", spent.calls, name, "; ".join(verdict.violations))
        if spent.calls > question.max_reasks:
            raise ProposalError(
                f"{name} gave no valid configuration in {spent.calls} attempts; the last reply was refused because: "
                f"{'; '.join(verdict.violations)}",
                provenance=_provenance(question, verdict, spent, context.counts, name),
            )
        messages = render_reask(messages, reply.text, verdict.violations)


def read(reply: Reply, space: Space) -> Verdict:
    """Parse a reply and conform it to the space."""
    parsed: Parsed = parse(reply.text, reply.finish_reason)
    if parsed.values is None:
        return Verdict(violations=(parsed.violation or "the reply held no JSON object",))
    conformed = conform(parsed.values, space)
    return Verdict(conformed=conformed, rationale=parsed.rationale, violations=tuple(conformed.violations))


def _request(question: Question, messages: Sequence[Message], schema: Mapping[str, Any]) -> Request:
    tokens = TOKENS_BASE + TOKENS_PER_PARAMETER * len(question.space.distributions)
    return Request(
        messages=messages, schema=schema, max_tokens=tokens, seed=question.seed, metadata={"role": question.role}
    )


def _proposal(question: Question, verdict: Verdict, spent: Spent, counts: Counts, model: str) -> Proposal:
    assert verdict.conformed is not None
    assert verdict.conformed.params is not None
    return Proposal(
        params=verdict.conformed.params,
        distributions=question.space.distributions,
        repairs=tuple(verdict.conformed.repairs),
        seen=len(question.snapshot.finished),
        provenance=_provenance(question, verdict, spent, counts, model),
    )


def _provenance(question: Question, verdict: Verdict, spent: Spent, counts: Counts, model: str) -> dict[str, Any]:
    return provenance(
        model=model,
        role=question.role,
        rationale=verdict.rationale,
        counts=counts,
        repairs=verdict.conformed.repairs if verdict.conformed else (),
        spent=spent,
        earlier=question.earlier,
    )
