"""One ask, from a snapshot to a reserved proposal: render, complete, parse, conform, and re-ask what was wrong."""

import asyncio
import contextlib
import itertools
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optuna.study import StudyDirection

from ..engine.errors import ProposalError, SpaceExhausted
from ..engine.history import Snapshot
from ..engine.records import Params, Proposal
from .client.errors import TOO_LONG, ClientError
from .client.line import Conversation
from .client.protocol import Reply, Request
from .context import Context, build_context
from .digest import Digest
from .duplicates import Clash, Index, exhausted, find_clash
from .flight import Flight
from .guidance.axes import Axes
from .guidance.evidence import Evidence
from .guidance.plain import Plain
from .guidance.record import written
from .guidance.strategy import Guidance, Open, Situation, Strategy
from .notation import format_value
from .policy import ContextPolicy
from .prompt import Message, Subject, render, render_head, render_reask
from .provenance import Spent, provenance
from .reply import parse
from .schema import json_schema
from .space import Conformed, Space, conform

logger = logging.getLogger("optuna_llm.samplers")

TOKENS_BASE = 256
TOKENS_PER_PARAMETER = 32
LENGTH_FACTOR = 4  # times the tokens that were too few
SLICE = 25  # finished trials taken in and formatted at once: 2 ms at 10 parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What one ask is about. `space` is what the model chooses, `fixed` what it is told, `columns` what it is shown.

    `number` is the trial's, if there is one already. `union`: a trial suggests only some of the parameters.
    `to_the_end`: a finite space of which nothing is left is `SpaceExhausted`; otherwise its duplicates are proposed.
    `menus`: the client takes a new schema with every ask.
    """

    columns: Space
    space: Space
    direction: StudyDirection
    subject: Subject
    policy: ContextPolicy
    strategy: Strategy = field(default_factory=Plain)
    fixed: Params = field(default_factory=dict)
    seed: int | None = None
    max_reasks: int = 2
    number: int | None = None
    earlier: Mapping[str, Any] | None = None
    union: bool = False
    to_the_end: bool = False
    menus: bool = True

    def head(self, space: Space) -> str:
        """The part of the prompt that never changes, for this part of the columns."""
        return render_head(space, self.subject, self.direction, rationale=self.policy.rationale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is known of the study: a view that is always current, and caches that follow from it."""

    latest: Callable[[], Snapshot]
    digest: Digest
    flight: Flight
    index: Index
    evidence: Evidence
    open: dict[int, Open] = field(default_factory=dict)

    async def catch_up(self, shown: int) -> Snapshot:
        """The latest snapshot, of whose history the last `shown` rows will be formatted.

        What is new of it is taken in and formatted by slices: a long history must not hold the loop.
        """
        snapshot = self.latest()
        while self.digest.known + SLICE < len(snapshot.finished):
            part = snapshot.finished[: self.digest.known + SLICE]
            self.digest.update(part)
            self.index.update(part)
            self.evidence.update(part)
            if len(snapshot.finished) - self.digest.known < shown:
                self.digest.rows(self.digest.known - SLICE)
            await asyncio.sleep(0)
            snapshot = self.latest()
        return snapshot

    def clash(self, params: Params, *, union: bool) -> Clash | None:
        """What `params` repeat, at this moment."""
        snapshot = self.latest()
        return find_clash(params, self.flight.update(snapshot), snapshot.finished, self.index, union=union)

    def situation(self, question: Question, snapshot: Snapshot) -> Situation:
        """What a strategy sees of one ask at this moment."""
        self.evidence.update(snapshot.finished)
        flying = self.flight.update(snapshot)
        known = len(snapshot.finished) + len(flying) + len(self.open)
        first = known if question.number is None else question.number
        return Situation(
            space=question.space,
            direction=question.direction,
            evidence=self.evidence,
            in_flight=flying,
            open=tuple(self.open.values()),
            fixed=question.fixed,
            ordinal=next(ordinal for ordinal in itertools.count(first) if ordinal not in self.open),
            share=snapshot.share,
            proposed=self.evidence.proposed + sum(other.proposed for other in flying) + len(self.open),
            seed=question.seed or 0,
        )

    @contextlib.contextmanager
    def asking(self, question: Question, snapshot: Snapshot) -> Iterator[Guidance]:
        """The guidance of one ask; its region is open, for other asks to stay out of, while this is entered."""
        situation = self.situation(question, snapshot)
        axes = self.evidence.axes
        guidance = question.strategy.guide(situation)
        if guidance.menu and not guidance.region:
            guidance = replace(guidance, region=axes.spanned(guidance.menu))
        self.open[situation.ordinal] = Open(region=guidance.region, places=axes.center(guidance.region))
        try:
            yield guidance
        finally:
            del self.open[situation.ordinal]

    def exhausted(self, snapshot: Snapshot) -> bool:
        """Whether a finite space holds nothing new."""
        return exhausted(self.flight.update(snapshot), snapshot.finished, self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A reply, read: the configuration if it is one, else what is wrong with it."""

    conformed: Conformed | None = None
    rationale: str | None = None
    violations: tuple[str, ...] = ()
    clash: Clash | None = None
    model: str | None = None


async def propose(
    question: Question, conversation: Conversation, memory: Memory, name: str, look: Callable[[], object]
) -> Proposal:
    """Ask until the reply is a valid configuration that is not in the study yet.

    After `max_reasks` re-asks a valid duplicate is taken, and recorded as one; without any, `ProposalError` is raised.
    `name` is the model's, for provenance and errors. `look` blocks, and reads the study: before a reply is accepted,
    where other processes work on it. Nothing is asked if there is nothing to choose. A prompt that is
    too long for the model is written anew, once, with half the history.
    """
    if question.space.fixed.keys() == question.space.distributions.keys():
        snapshot = await memory.catch_up(question.policy.history)
        context = build_context(snapshot, memory.digest, memory.flight, question.policy)
        exchange = _Exchange(question=question, context=context, seen=len(snapshot.finished), name=name)
        return exchange.proposal(Verdict(conformed=conform({}, question.space)))
    try:
        return await _ask(question, conversation, memory, name, look)
    except ClientError as error:
        if error.code != TOO_LONG or not question.policy.history:
            raise
        logger.warning("%s: the prompt is too long for it; asking with half the history", name)
    return await _ask(replace(question, policy=question.policy.halved()), conversation, memory, name, look)


async def _ask(
    question: Question, conversation: Conversation, memory: Memory, name: str, look: Callable[[], object]
) -> Proposal:
    """Wait for the turn, write the prompt, and talk until there is a verdict."""
    async with conversation.turn():
        snapshot = await memory.catch_up(question.policy.history)
        head = question.head(question.space)
        size = len(question.head(question.columns))
        context = build_context(snapshot, memory.digest, memory.flight, question.policy, size)
        exchange = _Exchange(question=question, context=context, seen=len(snapshot.finished), name=name)
        complete = question.space.distributions.keys() == question.columns.distributions.keys()
        anew = complete and not memory.exhausted(snapshot)
        if question.to_the_end and complete and not anew:
            raise SpaceExhausted("every configuration of the search space is evaluated or in flight")
        with memory.asking(question, snapshot) as guidance:
            exchange = replace(exchange, guidance=guidance)
            messages = render(
                context, question.columns, head, question.fixed, summary=guidance.summary, words=guidance.words
            )
            first = _request(question, messages, guidance)
            return await exchange.settle(first, conversation, memory, look if anew else None)


async def _looked(look: Callable[[], object]) -> None:
    """Another process may have proposed the same while the model was thinking: the fewer of its trials are unknown,
    the better. A storage that fails is not this moment's concern: the engine writes the trial next.
    """
    try:
        await asyncio.to_thread(look)
    except Exception:
        logger.warning("The study could not be read again before a proposal was accepted", exc_info=True)


def _compared(verdict: Verdict, memory: Memory, union: bool, advice: str) -> Verdict:
    """A configuration that the study has already is a violation, until there are no re-asks left."""
    assert verdict.conformed is not None
    assert verdict.conformed.params is not None
    clash = memory.clash(verdict.conformed.params, union=union)
    if clash is None:
        return verdict
    return replace(verdict, clash=clash, violations=(f"{clash}; {advice}",))


def _advice(guidance: Guidance, space: Space) -> str:
    """What to do about a repetition: with a menu, to take the first of its candidates as it stands."""
    if guidance.menu.keys() < space.distributions.keys() - space.fixed.keys():
        return "give a different one: change a choice, or a number by more than a thousandth of its range"
    first = {space.keys[name]: _written(name, values[0], space) for name, values in guidance.menu.items()}
    return f"take one of the candidates as it stands, such as {json.dumps(first, ensure_ascii=False)}"


def _written(name: str, value: Any, space: Space) -> Any:
    text = format_value(value, space.distributions[name])
    return text if name in space.labels else json.loads(text)


def read(reply: Reply, space: Space) -> Verdict:
    """Parse a reply and conform it to the space."""
    parsed = parse(reply.text, reply.finish_reason)
    if parsed.values is None:
        return Verdict(violations=(parsed.violation or "the reply held no JSON object",))
    conformed = conform(parsed.values, space)
    return Verdict(conformed=conformed, rationale=parsed.rationale, violations=conformed.violations, model=reply.model)


def _request(question: Question, messages: Sequence[Message], guidance: Guidance) -> Request:
    return Request(
        messages=messages,
        schema=json_schema(
            question.space,
            rationale=question.policy.rationale,
            menu=(guidance.menu if question.menus else None) or None,
        ),
        max_tokens=TOKENS_BASE + TOKENS_PER_PARAMETER * len(question.space.distributions),
        seed=question.seed,
        metadata={"role": guidance.role},
    )


def _again(first: Request, before: Request, reply: Reply, verdict: Verdict) -> Request:
    """The same prompt, byte for byte, then what was wrong; a reply that was cut off gets more room as well."""
    room = LENGTH_FACTOR if reply.finish_reason == "length" else 1
    messages = render_reask(first.messages, reply.text, verdict.violations)
    return replace(before, messages=messages, max_tokens=room * before.max_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exchange:
    """One ask with all its calls, and what comes of it."""

    question: Question
    context: Context
    seen: int
    name: str
    spent: Spent = field(default_factory=Spent)
    guidance: Guidance = field(default_factory=lambda: Guidance(strategy=Plain.name))

    async def settle(
        self, first: Request, conversation: Conversation, memory: Memory, look: Callable[[], object] | None
    ) -> Proposal:
        """Ask, and re-ask what was wrong; `look` is None if the study has every configuration already."""
        request = first
        repeated: Verdict | None = None
        while True:
            began = time.monotonic()
            reply = await conversation.complete(request)
            self.spent.add(reply, time.monotonic() - began)
            verdict = read(reply, self.question.space)
            if look is not None and verdict.conformed is not None and verdict.conformed.params is not None:
                if memory.latest().share.processes > 1:
                    await _looked(look)
                verdict = _compared(verdict, memory, self.question.union, _advice(self.guidance, self.question.space))
                repeated = verdict if verdict.clash else repeated
            if not verdict.violations:
                return self.proposal(verdict)
            logger.debug("Reply %d of %s refused: %s", self.spent.calls, self.name, "; ".join(verdict.violations))
            if self.spent.calls > self.question.max_reasks:
                if repeated is not None:
                    return self.proposal(repeated)
                raise self.failure(verdict)
            request = _again(first, request, reply, verdict)

    def proposal(self, verdict: Verdict) -> Proposal:
        assert verdict.conformed is not None
        assert verdict.conformed.params is not None
        return Proposal(
            params=verdict.conformed.params,
            distributions=self.question.space.distributions,
            repairs=verdict.conformed.repairs,
            seen=self.seen,
            provenance=self.provenance(verdict),
        )

    def failure(self, verdict: Verdict) -> ProposalError:
        return ProposalError(
            f"{self.name} gave no valid configuration in {self.spent.calls} attempts; the last reply was refused "
            f"because: {'; '.join(verdict.violations)}",
            provenance=self.provenance(verdict),
        )

    def provenance(self, verdict: Verdict) -> dict[str, Any]:
        clash = verdict.clash
        params = verdict.conformed.params if verdict.conformed else None
        return provenance(
            model=verdict.model or self.name,
            role=self.guidance.role,
            guidance=written(self.guidance, Axes(self.question.columns), params),
            rationale=verdict.rationale,
            counts=self.context.counts,
            repairs=verdict.conformed.repairs if verdict.conformed else (),
            spent=self.spent,
            duplicate_of=None if clash is None else "in flight" if clash.number is None else clash.number,
            earlier=self.question.earlier,
        )
