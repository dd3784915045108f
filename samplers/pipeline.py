"""One ask, from a view of the study to a reserved proposal: render, complete, judge, and re-ask what was wrong."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from optuna.trial import TrialState

from ..engine.errors import OptunaLLMError, ProposalError, SpaceExhausted
from ..engine.foreign_text import summary
from ..engine.logs import counted, get_logger
from ..engine.records import Proposal
from ..engine.study.door import StudyDoor
from ..engine.threads import JobThread
from .ask import Ask, OpenAsks, Opened
from .client.errors import TOO_LONG, ClientError
from .client.protocol import Reply, Request
from .guidance.strategies import Plain
from .guidance.strategy import Guidance
from .limits.stack import AskCalls
from .prompt.context import build_context
from .prompt.menu import menu_text
from .prompt.messages import prefix_ends, render, render_head, render_reask
from .provenance import guidance_part, provenance
from .space.menu_reply import chosen, declines, menu_schema, number_key
from .space.reply import parse
from .space.reply_model import Conformed, conform, json_schema, load
from .view.duplicates import Duplicate
from .view.view import View

logger = get_logger("optuna_llm.samplers")

# Tokens of an answer: a rationale of 40 words and the braces, then a key and a value with generous digits.
TOKENS_BASE = 256
TOKENS_PER_PARAMETER = 32
LENGTH_FACTOR = 4  # times the tokens that were too few: models that think aloud need far more than an answer

# Seconds that a reading of the study may take while a reply waits to be accepted: longer than any storage needs that
# works, shorter than a proposal takes.
REREAD_SECONDS = 10.0

# For the user: a model cannot change its own limit.
MORE_ROOM = (
    "replies were cut off at their limit of tokens: give the model more with LiteLLMClient(..., max_tokens=...), where "
    "one is set, raise the server's own limit, or turn the model's thinking off"
)
DIFFERENT = "give a different one: change a choice that counts, or a number by more than a thousandth of its range"


async def propose(ask: Ask, calls: AskCalls, asks: OpenAsks, door: StudyDoor) -> Proposal:
    """Ask until the reply is a valid configuration that is not in the study yet, and reserve it.

    After `max_reasks` re-asks a valid duplicate is taken, and recorded as one; without any, `ProposalError` is raised.
    A space in which every parameter has one value is proposed without a call. A prompt that is too long for the model
    is written anew, once, with half the history.
    """
    try:
        proposal = await _answer(ask, calls, asks, door)
    except BaseException:
        calls.refused()
        raise
    door.in_flight.reserve(proposal)
    calls.accepted(proposal)
    return proposal


async def _answer(ask: Ask, calls: AskCalls, asks: OpenAsks, door: StudyDoor) -> Proposal:
    await load()
    if ask.space.fixed.keys() == ask.space.distributions.keys():
        async with asks.turns:
            exchange = _exchange(
                ask, await asks.latest_view(ask), Guidance(strategy=Plain.name), None, can_be_new=False
            )
        return exchange.proposal(Verdict(conformed=conform({}, ask.space)))
    try:
        return await _converse(ask, calls, asks, door)
    except ClientError as error:
        if error.code != TOO_LONG or not ask.policy.history:
            raise
        logger.warning("%s: the prompt is too long for it; asking with half the history", ask.model)
    return await _converse(replace(ask, policy=ask.policy.halved()), calls, asks, door)


async def _converse(ask: Ask, calls: AskCalls, asks: OpenAsks, door: StudyDoor) -> Proposal:
    """Wait until a request may be sent, write the prompt, and talk until there is a proposal."""
    async with calls.turn():
        async with asks.turns:
            opened, exchange, request = _begin(ask, await asks.latest_view(ask), calls, asks)
        with opened:
            return await _discuss(exchange, request, calls, opened, door)


def _begin(ask: Ask, view: View, calls: AskCalls, asks: OpenAsks) -> "tuple[Opened, _Exchange, Request]":
    """Open an ask, and write its first request from a view that nobody keeps while the model answers."""
    complete = ask.space.distributions.keys() == ask.columns.distributions.keys()
    can_be_new = complete and not view.exhausted
    if ask.stop_when_exhausted and complete and not can_be_new:
        raise SpaceExhausted("every configuration of the search space is evaluated or in flight")
    opened = asks.open(ask, view)
    try:
        ends = (ask.left, calls.proposals_left())
        left = min((end for end in ends if end is not None), default=None)
        request = _request(ask, view, opened.guidance, opened.position, left, new=can_be_new)
        return opened, _exchange(ask, view, opened.guidance, left, can_be_new=can_be_new), request
    except BaseException:
        asks.close(opened)
        raise


async def _discuss(exchange: "_Exchange", first: Request, calls: AskCalls, opened: Opened, door: StudyDoor) -> Proposal:
    """Send the prompt, and re-ask what is wrong with the replies; and ask freely once a menu is declined."""
    ask, asks, request = exchange.ask, opened.asks, first
    repeated: Verdict | None = None
    try:
        while True:
            reply = await exchange.complete(calls, request)
            if exchange.can_be_new and door.sharing.share.processes > 1:
                await _reread_study(door)
            async with asks.turns:  # much may have happened while the model was thinking
                verdict = exchange.judge(reply, await asks.latest_view(ask))
                if verdict.declined:
                    exchange, first = _without_menu(exchange, await asks.latest_view(ask), opened)
                    request = first
                    continue
            if not verdict.violations:
                return exchange.proposal(verdict)
            repeated = verdict if verdict.duplicate else repeated
            logger.debug("Reply %d of %s refused: %s", len(exchange.replies), ask.model, "; ".join(verdict.violations))
            if exchange.attempts > ask.max_reasks:
                if repeated is None:
                    raise exchange.failure(verdict)
                logger.info(
                    "%s was asked %s, and repeats what the study has", ask.model, counted(len(exchange.replies), "time")
                )
                return exchange.proposal(repeated)
            request = _reask(first, request, reply, verdict)
    except OptunaLLMError as error:  # of a re-ask, perhaps: the replies before it were paid
        if exchange.replies and not error.provenance:
            error.provenance = exchange.record(Verdict())
        raise


def _without_menu(exchange: "_Exchange", view: View, opened: Opened) -> "tuple[_Exchange, Request]":
    """The exchange, and the request with which it goes on, of a model that declined its menu."""
    opened.asks.decline(opened)
    ask, left, new = exchange.ask, exchange.left, exchange.can_be_new
    free = _exchange(ask, view, exchange.guidance.declined(), left, can_be_new=new)
    request = _request(ask, view, free.guidance, opened.position, left, new=new)
    return replace(free, replies=exchange.replies, declined=True), request


async def _reread_study(door: StudyDoor) -> None:
    """Re-read the study in a thread, so that other processes' new trials count as duplicates.

    Failures are logged and ignored: the engine writes next, and tries for longer.
    """
    thread = JobThread("optuna-llm reread")  # a daemon: a storage that never answers keeps no process from its end
    try:
        await asyncio.wait_for(asyncio.wrap_future(thread.submit(door.refresh)), REREAD_SECONDS)
    except Exception as error:
        logger.warning("The study could not be read again before a proposal was accepted: %s", summary(error))
    finally:
        thread.close()


# -- requests


def _request(ask: Ask, view: View, guidance: Guidance, position: int, left: int | None, *, new: bool) -> Request:
    """The first request: the prompt as the study is now, and the schema of the answer."""
    rationale = ask.policy.rationale
    head = partial(render_head, subject=ask.subject, direction=ask.direction, rationale=rationale)
    menu = menu_text(guidance.candidates, guidance.expected, ask.space, optional=guidance.optional)
    words = "\n".join(filter(None, [guidance.words, menu]))
    length = len(words) + sum(map(len, guidance.summary))
    context = build_context(
        view,
        ask.policy,
        len(head(ask.columns)),
        guidance=length,
        own=ask.number,
        position=None if menu else position,  # open menus offer different candidates
        proposals_left=left,
    )
    of_menu = partial(menu_schema, count=len(guidance.candidates), optional=guidance.optional)
    schema = of_menu if menu else json_schema
    return Request(
        messages=render(
            context, ask.columns, head(ask.space), ask.fixed, new=new, summary=guidance.summary, words=words
        ),
        schema=schema(ask.space, rationale=rationale),
        max_tokens=TOKENS_BASE + TOKENS_PER_PARAMETER * len(ask.space.distributions),
        seed=ask.seed,
        metadata={"role": guidance.role},
        prefix_ends=prefix_ends(context, ask.columns),
    )


def _reask(first: Request, last: Request, reply: Reply, verdict: "Verdict") -> Request:
    """The same prompt, byte for byte, then what was wrong; a reply that was cut off gets more room as well."""
    room = LENGTH_FACTOR * first.max_tokens if reply.finish_reason == "length" else last.max_tokens
    messages = render_reask(first.messages, reply.text, verdict.violations)
    return replace(last, messages=messages, max_tokens=room)


# -- replies, and what comes of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The configuration of a reply if it is one, else what is wrong with it, or that it `declined` a menu.

    `own`: it gives values of its own, although there was a menu.
    """

    conformed: Conformed | None = None
    rationale: str | None = None
    violations: tuple[str, ...] = ()
    duplicate: Duplicate | None = None
    model: str | None = None
    declined: bool = False
    own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exchange:
    """One ask with all its replies.

    `n_finished` trials and the `counts` of all are those of the study when the prompt was written.
    `can_be_new`: there are configurations that the study does not have, so that duplicates are refused. `left`: how
    many proposals the prompt says are to come. `declined`: one of the replies declined the menu.
    """

    ask: Ask
    guidance: Guidance
    n_finished: int
    counts: Mapping[str, int]
    can_be_new: bool
    left: int | None
    replies: list[Reply] = field(default_factory=list)
    declined: bool = False

    @property
    def attempts(self) -> int:
        """How many replies were to be a configuration."""
        return len(self.replies) - self.declined

    async def complete(self, calls: AskCalls, request: Request) -> Reply:
        """Send a request, and keep its reply; the latency is measured here where the client did not."""
        began = time.monotonic()
        reply = await calls.complete(request)
        if reply.latency is None:
            reply = replace(reply, latency=time.monotonic() - began)
        self.replies.append(reply)
        return reply

    def judge(self, reply: Reply, view: View) -> Verdict:
        """Parse a reply, conform it to the space, and refuse what the study has already."""
        space = self.ask.space
        parsed = parse(reply.text, reply.finish_reason)
        if parsed.values is None:
            return Verdict(violations=(parsed.violation or "the reply held no JSON object",))
        menu = self.guidance.candidates
        if menu and self.guidance.optional and declines(parsed.values, number_key(space)):
            return Verdict(declined=True)
        taken = chosen(parsed.values, space, menu)
        conformed = taken or conform(parsed.values, space)
        verdict = Verdict(
            conformed=conformed,
            rationale=parsed.rationale,
            violations=conformed.violations,
            model=reply.model,
            own=bool(menu) and taken is None,
        )
        if conformed.params is None or not self.can_be_new:
            return verdict
        duplicate = view.find_duplicate(conformed.params, conditional=self.ask.conditional)
        if duplicate is None:
            return verdict
        return replace(verdict, duplicate=duplicate, violations=(f"{duplicate}; {DIFFERENT}",))

    def proposal(self, verdict: Verdict) -> Proposal:
        """The configuration of a verdict, with its record."""
        conformed = verdict.conformed
        assert conformed is not None
        assert conformed.params is not None
        return Proposal(
            params=conformed.params,
            distributions=self.ask.space.distributions,
            repairs=conformed.repairs,
            seen=self.n_finished,
            provenance=self.record(verdict),
            new=self.can_be_new and verdict.duplicate is None,
        )

    def failure(self, verdict: Verdict) -> ProposalError:
        """The error of an ask whose replies were all wrong, the last one as this verdict says."""
        cut = any(reply.finish_reason == "length" for reply in self.replies)
        return ProposalError(
            f"{self.ask.model} gave no valid configuration in {counted(self.attempts, 'attempt')}; the last reply "
            f"was refused because: {'; '.join(verdict.violations)}{f'; {MORE_ROOM}' if cut else ''}",
            provenance=self.record(verdict),
        )

    def record(self, verdict: Verdict) -> dict[str, Any]:
        """What goes on record of all replies, the last one as this verdict says."""
        duplicate, conformed = verdict.duplicate, verdict.conformed
        guidance = self.guidance.declined() if verdict.own else self.guidance
        return provenance(
            model=verdict.model or self.ask.model,
            role=guidance.role,
            guidance=guidance_part(guidance.strategy, guidance.form, guidance.reason),
            rationale=verdict.rationale,
            counts=self.counts,
            repairs=conformed.repairs if conformed else (),
            replies=self.replies,
            declined=self.declined,
            duplicate_of=None if duplicate is None else "in flight" if duplicate.number is None else duplicate.number,
            earlier=self.ask.earlier,
        )


def _exchange(ask: Ask, view: View, guidance: Guidance, left: int | None, *, can_be_new: bool) -> _Exchange:
    counts, own = view.finished.counts, ask.number
    return _Exchange(
        ask=ask,
        guidance=guidance,
        n_finished=len(view.snapshot.finished),
        counts={
            "complete": counts[TrialState.COMPLETE],
            "pruned": counts[TrialState.PRUNED],
            "failed": counts[TrialState.FAIL],
            "running": len(view.in_flight) - (own is not None and any(own == other.number for other in view.in_flight)),
        },
        can_be_new=can_be_new,
        left=left,
    )
