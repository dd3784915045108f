"""The prompt of the next ask, without a model."""

import contextlib
from collections.abc import Mapping, Sequence

import anyio
from optuna.study import Study

from .. import FunctionClient, LLMGuidedSampler, Request, UsageError
from ..samplers.wire.ladder import Mode, completion_arguments
from .sources import Source


class _Seen(Exception):
    """Ends an ask once its request is known."""


def messages_for(
    source: Source,
    study: Study,
    *,
    strategy: str = "adaptive",
    left: int | None = None,
    mode: Mode = "json_schema",
) -> Sequence[Mapping[str, str]]:
    """The messages of a study's next ask, over the module's `search_space`, else over what the study's trials have.

    `left` proposals are to come, this one included; None where no end is known. `mode` is what holds the answer to its
    schema: where that is words, they are in the messages. Raises `UsageError` where nothing says a parameter.
    """
    if source.search_space is None and not any(trial.distributions for trial in study.trials):
        raise UsageError(
            "the module declares no search_space (name -> Optuna distribution), and no trial of the study has "
            "parameters: nothing is known to show"
        )
    requests: list[Request] = []

    def note(request: Request) -> str:
        requests.append(request)
        raise _Seen

    sampler = LLMGuidedSampler(
        FunctionClient(note),
        task=source.task,
        parameters=source.parameters,
        search_space=source.search_space,
        strategy=strategy,
    )
    door = sampler.door(study)
    door.refresh()

    async def ask() -> None:
        await sampler.propose_one(door, left=left)

    with contextlib.suppress(_Seen):
        anyio.run(ask)
    sent = completion_arguments(requests[0].messages, requests[0].schema, mode)["messages"]
    return [dict(message) for message in sent]
