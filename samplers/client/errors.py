"""What can go wrong between us and a model; the whole tree is drawn in `engine.errors`."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import ClassVar, Final

from ...engine.errors import OptunaLLMError
from ...engine.logs import get_logger

logger = get_logger("optuna_llm.samplers.client")

# The `code` of every refusal of a prompt that is longer than the model's context, whatever the provider calls it: the
# sampler acts on it.
TOO_LONG = "context_length_exceeded"

# The `code` of an answer that is a page for people: a login, a proxy's notice, another site.
WEB_PAGE = "web_page"


WHAT_TO_CHECK = "api_base, the model's provider, the network and its proxy (HTTPS_PROXY)"

# Seconds after which a first request that has no answer is worth a line.
SILENT_SECONDS: Final = 20.0

# The `code` of a refusal for want of idle capacity, in a tier that is served with nothing else.
NO_CAPACITY = "resource_unavailable"


class ClientError(OptunaLLMError):
    """The model could not be reached, or did not answer as agreed.

    `retry_after` is in seconds, `status` the HTTP status and `code` the provider's own error code; each is None
    when unknown. `at_once`: retry without a pause; the next attempt uses another output mode. `unreached`: nothing has
    ever answered there, so it is rather a wrong address than an outage.
    """

    unreached: bool = False
    at_once: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        *,
        retry_after: float | None = None,
        status: int | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.status = status
        self.code = code


class AuthenticationError(ClientError):
    """The key is missing or refused. Fatal: asking stops."""


class ModelNotFoundError(ClientError):
    """The provider does not know the model. Fatal: asking stops."""


class QuotaExceededError(ClientError):
    """The account has no quota or credit left. Fatal: asking stops."""


class ThrottledError(ClientError):
    """Too many requests or tokens at once. Retried, not before `retry_after`."""

    transient: ClassVar[bool] = True


class TransientError(ClientError):
    """The connection broke or the server failed. Retried."""

    transient: ClassVar[bool] = True


class DeadlineExceededError(ClientError):
    """No complete answer within the timeout. Retried once."""

    transient: ClassVar[bool] = True


def as_unreached(error: ClientError) -> ClientError:
    """The error of a request to a place where nothing has ever answered, with what to check."""
    late = isinstance(error, DeadlineExceededError)
    slow = "; for a model that takes longer, raise timeout=" if late else ""
    told = type(error)(f"{error} (nothing has answered there so far: check {WHAT_TO_CHECK}{slow})")
    told.unreached = True
    return told


@contextlib.contextmanager
def told_of_silence(model: str, *, once: set[str], seconds: float) -> Iterator[None]:
    """Warn of a first request that stays without an answer: a place where nobody is looks like a slow model.

    `once` holds what was warned of already; `seconds` is when the request will be given up.
    """

    def say() -> None:
        if model not in once:
            once.add(model)
            logger.warning(
                "Model %r has not answered for %g s, and nothing has answered there so far: unless it is slow, check "
                "%s. The request is given up after %g s.",
                *(model, SILENT_SECONDS, WHAT_TO_CHECK, seconds),
            )

    timer = asyncio.get_running_loop().call_later(SILENT_SECONDS, say)
    try:
        yield
    finally:
        timer.cancel()
