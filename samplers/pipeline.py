"""One ask, from a snapshot to a reserved proposal: render, complete, parse, conform, and re-ask what was wrong."""

import asyncio
import contextlib
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..engine.errors import ProposalError, SpaceExhausted
from ..engine.records import Params, Proposal
from ..engine.threads import JobThread
from .client.errors import TOO_LONG, ClientError
from .client.protocol import Reply, Request
from .guidance.plain import Plain
from .guidance.record import written
from .guidance.strategy import Guidance
from .limits.stack import Conversation
from .memory import Memory
from .prompt.context import Context, build_context
from .prompt.messages import Message, render, render_reask
from .provenance import Spent, provenance
from .question import Question
from .space.axes import Axes
from .space.notation import format_value
from .space.reply import parse
from .space.reply_model import Conformed, conform, load
from .space.schema import json_schema
from .space.space import Space
from .view.duplicates import Clash

logger = logging.getLogger("optuna_llm.samplers")

TOKENS_BASE = 256
TOKENS_PER_PARAMETER = 32
LENGTH_FACTOR = 4  # times the tokens that were too few
LOOKING = 10.0  # seconds that a reading of the study may take while a reply waits to be accepted
COMBINATIONS = 64  # of a menu's values, looked through for one that is new


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
    await load()
    if question.space.fixed.keys() == question.space.distributions.keys():
        snapshot = await memory.catch_up(question.policy.history)
        context = build_context(snapshot, memory.digest, memory.flight, question.policy)
        exchange = _Exchange(
            question=question, context=context, axes=memory.evidence.axes, seen=len(snapshot.finished), name=name
        )
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
    async with conversation.turn(), _opened(question, memory, name) as exchange:
        return await exchange.settle(conversation, memory, look)


@contextlib.asynccontextmanager
async def _opened(question: Question, memory: Memory, name: str) -> AsyncIterator["_Exchange"]:
    """An ask whose first request is written; its region is open while this is entered."""
    with contextlib.ExitStack() as asking:
        async with memory.alone():
            snapshot = await memory.catch_up(question.policy.history)
            head = question.head(question.space)
            size = len(question.head(question.columns))
            complete = question.space.distributions.keys() == question.columns.distributions.keys()
            anew = complete and not memory.exhausted(snapshot)
            if question.to_the_end and complete and not anew:
                raise SpaceExhausted("every configuration of the search space is evaluated or in flight")
            guidance = asking.enter_context(memory.asking(question, snapshot))
            context = build_context(
                snapshot,
                memory.digest,
                memory.flight,
                question.policy,
                size,
                said=len(guidance.words) + sum(map(len, guidance.summary)),
                own=question.number,
            )
            messages = render(
                context, question.columns, head, question.fixed, summary=guidance.summary, words=guidance.words
            )
            exchange = _Exchange(
                question=question,
                context=context,
                axes=memory.evidence.axes,
                seen=len(snapshot.finished),
                name=name,
                guidance=guidance,
                first=_request(question, messages, guidance),
                anew=anew,
            )
        yield exchange


async def _looked(look: Callable[[], object]) -> None:
    """Another process may have proposed the same while the model was thinking: the fewer of its trials are unknown,
    the better. A storage that fails, or does not answer, is not this moment's concern: the engine writes next.
    """
    lane = JobThread("optuna-llm look")  # a daemon: a storage that never answers keeps no process from its end
    try:
        await asyncio.wait_for(asyncio.wrap_future(lane.submit(look)), LOOKING)
    except Exception:
        logger.warning("The study could not be read again before a proposal was accepted", exc_info=True)
    finally:
        lane.close()


def _advice(guidance: Guidance, space: Space, is_new: Callable[[Params], bool]) -> str:
    """What to do about a repetition: with a menu, to take values of it that are new."""
    complete = guidance.menu.keys() >= space.distributions.keys() - space.fixed.keys()
    combinations = itertools.product(*guidance.menu.values()) if complete else ()
    for values in itertools.islice(combinations, COMBINATIONS):
        params = {**space.fixed, **dict(zip(guidance.menu, values, strict=True))}
        if is_new(params):
            shown = {space.keys[name]: _written(name, params[name], space) for name in guidance.menu}
            return f"take values of the candidates that are new together, as {json.dumps(shown, ensure_ascii=False)}"
    return "give a different one: change a choice that counts, or a number by more than a thousandth of its range"


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
    """One ask with all its calls, and what comes of it. `anew`: there are configurations that the study does not have.

    Without a `first` request nothing is asked: there is nothing to choose.
    """

    question: Question
    context: Context
    axes: Axes
    seen: int
    name: str
    spent: Spent = field(default_factory=Spent)
    guidance: Guidance = field(default_factory=lambda: Guidance(strategy=Plain.name))
    first: Request | None = None
    anew: bool = False

    async def settle(self, conversation: Conversation, memory: Memory, look: Callable[[], object]) -> Proposal:
        """Ask, and re-ask what was wrong."""
        first = request = self.first
        assert first is not None
        assert request is not None
        repeated: Verdict | None = None
        while True:
            began = time.monotonic()
            reply = await conversation.complete(request)
            self.spent.add(reply, time.monotonic() - began)
            if self.anew and memory.latest().share.processes > 1:
                await _looked(look)
            async with memory.alone():
                if self.anew:  # what finished while the model was thinking may be much
                    await memory.catch_up(self.question.policy.history)
                verdict = self._judged(reply, memory)
            repeated = verdict if verdict.clash else repeated
            if not verdict.violations:
                return self.proposal(verdict)
            logger.debug("Reply %d of %s refused: %s", self.spent.calls, self.name, "; ".join(verdict.violations))
            if self.spent.calls > self.question.max_reasks:
                if repeated is not None:
                    return self.proposal(repeated)
                raise self.failure(verdict)
            request = _again(first, request, reply, verdict)

    def _judged(self, reply: Reply, memory: Memory) -> Verdict:
        verdict = read(reply, self.question.space)
        if not self.anew or verdict.conformed is None or verdict.conformed.params is None:
            return verdict
        union, space = self.question.union, self.question.space
        clash = memory.clash(verdict.conformed.params, union=union)
        if clash is None:
            return verdict
        advice = _advice(self.guidance, space, lambda params: memory.clash(params, union=union) is None)
        return replace(verdict, clash=clash, violations=(f"{clash}; {advice}",))

    def proposal(self, verdict: Verdict) -> Proposal:
        assert verdict.conformed is not None
        assert verdict.conformed.params is not None
        return Proposal(
            params=verdict.conformed.params,
            distributions=self.question.space.distributions,
            repairs=verdict.conformed.repairs,
            seen=self.seen,
            provenance=self.provenance(verdict),
            new=self.anew and verdict.clash is None,
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
            guidance=written(self.guidance, self.axes, params),
            rationale=verdict.rationale,
            counts=self.context.counts,
            repairs=verdict.conformed.repairs if verdict.conformed else (),
            spent=self.spent,
            duplicate_of=None if clash is None else "in flight" if clash.number is None else clash.number,
            earlier=self.question.earlier,
        )
