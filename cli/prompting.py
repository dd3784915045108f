"""The prompt of the next ask, without a model."""

import contextlib
from collections.abc import Mapping, Sequence

import anyio
from optuna.study import Study

from .. import FunctionClient, LLMGuidedSampler, Request, UsageError
from .sources import Source


class _Seen(Exception):
    """Ends an ask once its request is known."""


def messages_for(source: Source, study: Study) -> Sequence[Mapping[str, str]]:
    """The messages of a study's next ask, over the module's `search_space`, else over what the study's trials have.

    Raises `UsageError` where neither says a parameter.
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
        FunctionClient(note), task=source.task, parameters=source.parameters, search_space=source.search_space
    )
    with contextlib.suppress(_Seen):
        anyio.run(sampler.propose, study)
    return [dict(message) for message in requests[0].messages]
