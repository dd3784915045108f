"""What can go wrong between us and a model; the whole tree is drawn in `engine.errors`."""

from typing import ClassVar

from ...engine.errors import OptunaLLMError

# The `code` of every refusal of a prompt that is longer than the model's context, whatever the provider calls it: the
# sampler acts on it.
TOO_LONG = "context_length_exceeded"


class ClientError(OptunaLLMError):
    """The model could not be reached, or did not answer as agreed.

    `retry_after` is in seconds, `status` the HTTP status and `code` the provider's own error code; each is None
    when unknown. `at_once`: retry without a pause; the next attempt uses another output mode.
    """

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
