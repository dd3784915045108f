"""One ask, from a view of the study to a proposal: render, complete, judge, and re-ask what was wrong."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from ..engine.errors import ProposalError, SpaceExhausted
from ..engine.records import Proposal
from ..engine.threads import JobThread
from .ask import Ask
from .client.errors import TOO_LONG, ClientError
from .client.protocol import Reply, Request
from .guidance.strategies import Plain
from .guidance.strategy import Guidance
from .limits.stack import AskCalls
from .open_asks import OpenAsks
from .prompt.context import Context, build_context
from .prompt.messages import Message, render, render_reask
from .provenance import Spent, guidance_part, provenance
from .space.axes import Axes
from .space.reply_model import conform, json_schema, load
from .verdict import Verdict, verdict_on
from .view.view import View

logger = logging.getLogger("optuna_llm.samplers")

# Tokens of an answer: a rationale of 40 words and the braces, then a key and a value with generous digits.
TOKENS_BASE = 256
TOKENS_PER_PARAMETER = 32
LENGTH_FACTOR = 4  # times the tokens that were too few: models that think aloud need far more than an answer

# Seconds that a reading of the study may take while a reply waits to be accepted: longer than any storage needs that
# works, shorter than a proposal takes.
REREAD_SECONDS = 10.0


async def propose(ask: Ask, calls: AskCalls, asks: OpenAsks, reread: Callable[[], object]) -> Proposal:
    """Ask until the reply is a valid configuration that is not in the study yet.

    After `max_reasks` re-asks a valid duplicate is taken, and recorded as one; without any, `ProposalError` is raised.
    `reread` blocks, and reads the study. A space in which every parameter has one value is proposed without a call. A
    prompt that is too long for the model is written anew, once, with half the history.
    """
    await load()
    if ask.has_one_answer:
        async with asks.view(ask.policy.history) as view:
            return _only_answer(ask, view)
    try:
        return await _converse(ask, calls, asks, reread)
    except ClientError as error:
        if error.code != TOO_LONG or not ask.policy.history:
            raise
        logger.warning("%s: the prompt is too long for it; asking with half the history", ask.model)
    return await _converse(replace(ask, policy=ask.policy.halved()), calls, asks, reread)


async def _converse(ask: Ask, calls: AskCalls, asks: OpenAsks, reread: Callable[[], object]) -> Proposal:
    """Wait until a request may be sent, write the prompt, and talk until there is a verdict."""
    async with calls.turn():
        with contextlib.ExitStack() as open_ask:
            async with asks.view(ask.policy.history) as view:
                exchange = open_ask.enter_context(_opened(ask, asks, view))
            return await exchange.converse(calls, asks, reread)


@contextlib.contextmanager
def _opened(ask: Ask, asks: OpenAsks, view: View) -> Iterator["_Exchange"]:
    """An exchange whose prompt is written; other asks stay out of its region while this is entered."""
    can_be_new = ask.complete and not view.exhausted
    if ask.stop_when_exhausted and ask.complete and not can_be_new:
        raise SpaceExhausted("every configuration of the search space is evaluated or in flight")
    with asks.guided(ask, view) as guidance:
        context = build_context(
            view,
            ask.policy,
            len(ask.head(ask.columns)),
            guidance=len(guidance.words) + sum(map(len, guidance.summary)),
            own=ask.number,
        )
        yield _Exchange(
            ask=ask,
            guidance=guidance,
            context=context,
            messages=render(
                context, ask.columns, ask.head(ask.space), ask.fixed, summary=guidance.summary, words=guidance.words
            ),
            axes=view.evidence.axes,
            n_finished=len(view.snapshot.finished),
            can_be_new=can_be_new,
        )


def _only_answer(ask: Ask, view: View) -> Proposal:
    exchange = _Exchange(
        ask=ask,
        guidance=Guidance(strategy=Plain.name),
        context=build_context(view, ask.policy),
        axes=view.evidence.axes,
        n_finished=len(view.snapshot.finished),
    )
    return exchange.proposal(Verdict(conformed=conform({}, ask.space)))


def _request(ask: Ask, messages: Sequence[Message], guidance: Guidance) -> Request:
    menu = (guidance.menu if ask.menus else None) or None
    return Request(
        messages=messages,
        schema=json_schema(ask.space, rationale=ask.policy.rationale, menu=menu),
        max_tokens=TOKENS_BASE + TOKENS_PER_PARAMETER * len(ask.space.distributions),
        seed=ask.seed,
        metadata={"role": guidance.role},
    )


def _reask(first: Request, last: Request, reply: Reply, verdict: Verdict) -> Request:
    """The same prompt, byte for byte, then what was wrong; a reply that was cut off gets more room as well."""
    factor = LENGTH_FACTOR if reply.finish_reason == "length" else 1
    messages = render_reask(first.messages, reply.text, verdict.violations)
    return replace(last, messages=messages, max_tokens=factor * last.max_tokens)


async def _reread_study(reread: Callable[[], object]) -> None:
    """Re-read the study in a thread, so that other processes' new trials count as duplicates.

    Failures are logged and ignored: the engine writes next, and tries for longer.
    """
    thread = JobThread("optuna-llm reread")  # a daemon: a storage that never answers keeps no process from its end
    try:
        await asyncio.wait_for(asyncio.wrap_future(thread.submit(reread)), REREAD_SECONDS)
    except Exception:
        logger.warning("The study could not be read again before a proposal was accepted", exc_info=True)
    finally:
        thread.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exchange:
    """One ask with all its calls, and what comes of it.

    `n_finished`: finished trials when the prompt was written. `can_be_new`: there are configurations that the study
    does not have, so that duplicates are refused.
    """

    ask: Ask
    guidance: Guidance
    context: Context
    axes: Axes
    n_finished: int
    messages: Sequence[Message] = ()
    can_be_new: bool = False
    spent: Spent = field(default_factory=Spent)

    async def converse(self, calls: AskCalls, asks: OpenAsks, reread: Callable[[], object]) -> Proposal:
        """Send the prompt, and re-ask what was wrong."""
        first = request = _request(self.ask, self.messages, self.guidance)
        repeated: Verdict | None = None
        while True:
            reply = await self._complete(calls, request)
            verdict = await self._verdict_on(reply, asks, reread)
            if not verdict.violations:
                return self.proposal(verdict)
            repeated = verdict if verdict.duplicate else repeated
            logger.debug("Reply %d of %s refused: %s", self.spent.calls, self.ask.model, "; ".join(verdict.violations))
            if self.spent.calls > self.ask.max_reasks:
                if repeated is None:
                    raise self._failure(verdict)
                return self.proposal(repeated)
            request = _reask(first, request, reply, verdict)

    async def _complete(self, calls: AskCalls, request: Request) -> Reply:
        began = time.monotonic()
        reply = await calls.complete(request)
        self.spent.add(reply, time.monotonic() - began)
        return reply

    async def _verdict_on(self, reply: Reply, asks: OpenAsks, reread: Callable[[], object]) -> Verdict:
        """Judge a reply by the study as it is now: much may have happened while the model was thinking."""
        if self.can_be_new and asks.latest().share.processes > 1:
            await _reread_study(reread)
        async with asks.view(self.ask.policy.history) as view:
            find = partial(view.find_duplicate, conditional=self.ask.conditional) if self.can_be_new else None
            return verdict_on(reply, self.ask.space, self.guidance, find)

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
            provenance=self._provenance(verdict),
            new=self.can_be_new and verdict.duplicate is None,
        )

    def _failure(self, verdict: Verdict) -> ProposalError:
        return ProposalError(
            f"{self.ask.model} gave no valid configuration in {self.spent.calls} attempts; the last reply was refused "
            f"because: {'; '.join(verdict.violations)}",
            provenance=self._provenance(verdict),
        )

    def _provenance(self, verdict: Verdict) -> dict[str, Any]:
        duplicate, conformed, guidance = verdict.duplicate, verdict.conformed, self.guidance
        params = conformed.params if conformed else None
        return provenance(
            model=verdict.model or self.ask.model,
            role=guidance.role,
            guidance=guidance_part(guidance.strategy, guidance.form, guidance.region, self.axes, params),
            rationale=verdict.rationale,
            counts=asdict(self.context.counts),
            repairs=conformed.repairs if conformed else (),
            spent=self.spent,
            duplicate_of=None if duplicate is None else "in flight" if duplicate.number is None else duplicate.number,
            earlier=self.ask.earlier,
        )
