"""The layout of a recording: JSON lines, in the order in which things happened at the client's boundary.

    {"schema_version": 1, "kind": "optuna-llm recording", "schema_per_ask": what the client says}
    {"event": "request", "id": 1, "request": {"messages", "schema", "max_tokens", "seed", "metadata"}}
    {"event": "reply", "id": 1, "reply": {every field of a Reply}}
    {"event": "error", "id": 1, "error": {"type", "message"; of a ClientError also "retry_after", "status", "code"}}
    {"event": "cancelled", "id": 1}
    {"event": "returned", "id": 1}

A reply is on file before its caller has it. If other lines were written meanwhile, "returned" marks when the caller had
it, and that moment counts. "cancelled" after a reply says that its caller never had it.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from ...engine.errors import UsageError, scrub
from ..client import errors
from ..client.errors import ClientError
from ..client.protocol import Reply, Request, Usage

Record = Mapping[str, Any]

HEADER: Final = {"schema_version": 1, "kind": "optuna-llm recording"}
COMPARED_FIELDS: Final = ("messages", "schema", "max_tokens", "seed")
ERROR_DETAILS: Final = ("retry_after", "status", "code")
ERROR_KINDS: Final = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, ClientError)
}


def request_record(request: Request) -> dict[str, Any]:
    """What is kept of a request; of its metadata, only what any process can read."""
    scalars = (str, int, float, bool, type(None))
    metadata = {name: value for name, value in request.metadata.items() if type(value) in scalars}
    return {**{name: getattr(request, name) for name in COMPARED_FIELDS}, "metadata": metadata}


def request_key(record: Record) -> str:
    """Equal for equal requests; `record` must be cleaned."""
    return dump([{name: record[name]} for name in COMPARED_FIELDS], sort_keys=True)


def reply_record(reply: Reply) -> dict[str, Any]:
    usage = reply.usage and {field.name: getattr(reply.usage, field.name) for field in fields(Usage)}
    return {field.name: getattr(reply, field.name) for field in fields(Reply)} | {"usage": usage}


def error_record(error: Exception) -> dict[str, Any]:
    """A `ClientError` under the nearest class of our own tree, any other error by its class and message."""
    if not isinstance(error, ClientError):
        return {"type": type(error).__qualname__, "message": str(error)}
    kind = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in ERROR_KINDS)
    return {"type": kind, "message": str(error), **{name: getattr(error, name) for name in ERROR_DETAILS}}


def cleaned(value: Any) -> Any:
    """`value` in JSON's own types, without what looks like a secret."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {str(name): cleaned(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(part) for part in value]
    return value


def dump(document: Any, *, sort_keys: bool = False) -> str:
    """One line of ASCII."""
    try:
        return json.dumps(document, sort_keys=sort_keys)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"only requests and replies of JSON values can be recorded and replayed: {error}") from error
