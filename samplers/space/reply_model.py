"""The Pydantic model of a reply: built from a search space, once, and all that is known of replies comes from it.

Its JSON schema is what is sent, its validation reads a reply's values, its errors are what a model is told to correct.
What can be clamped, snapped or matched is accepted, so the model is wider than its schema, and never narrowed.

Pydantic is imported here alone, and in a thread of the first ask: it would be a seventh of the time of
`import optuna_llm`.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Annotated, Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from ...engine.threads import JobThread
from .notation import in_words, quote, show
from .space import RATIONALE, Space, make_space
from .values import Reading, read

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

NAME_LENGTH = 80  # of a parameter, beside its key: a name is what most models know a parameter by
LISTED_PROBLEMS = 12  # violations, or unknown keys, that are spelled out: more are not read; the others are counted
MODELS = 128  # spaces asked for in turn: one for each parameter, where a space is discovered
KEYWORDS = ("type", "minimum", "maximum", "enum", "description")  # in this order; models read it from the left
FIELD = "field_"  # before a key, which may be a method of Pydantic's models, or begin with an underscore


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformed:
    """Values that Optuna takes as they are, and what was changed; or None, and what the model must correct."""

    params: Mapping[str, Any] | None
    repairs: tuple[str, ...]
    violations: tuple[str, ...]


async def load() -> None:
    """Wait until Pydantic can be used without holding the loop; asks go on in the order in which they came."""
    loading = _loading()
    if loading.done():
        return
    loop = asyncio.get_running_loop()
    if loop not in _waiting:  # one for all: a future that is done keeps what it was to call
        _waiting[loop] = asyncio.wrap_future(loading)
        _waiting[loop].add_done_callback(lambda _: _waiting.pop(loop))
    await asyncio.shield(_waiting[loop])


def conform(raw: object, space: Space) -> Conformed:
    """Clamp, snap and match the values of `raw` into `space`; never raises for a JSON value.

    Values are found under a parameter's key, else under its name. What cannot be repaired without guessing is a
    violation, in words that the model can act on.
    """
    from pydantic import ValidationError

    reading = Reading(space=space)
    try:
        reply = reply_model(space).model_validate(raw, context=reading)
    except ValidationError as error:
        problems = _limited(_violations(error, space), "violations")
        return Conformed(params=None, repairs=tuple(reading.repairs), violations=problems)
    values = vars(reply)
    params = {name: values[FIELD + key] for name, key in space.keys.items()}
    extra = [show(key) for key in reply.model_extra or ()]
    unknown = [f"ignored unknown keys: {', '.join(_limited(extra, 'keys'))}"] if extra else []
    return Conformed(params={**params, **space.fixed}, repairs=(*reading.repairs, *unknown), violations=())


@lru_cache(maxsize=MODELS)
def reply_model(space: Space) -> type["BaseModel"]:
    """Build the model of `space`: a field for each parameter, after one for the model's reasons."""
    from pydantic import AliasChoices, ConfigDict, Field, WithJsonSchema, create_model

    reasons = Annotated[Any, WithJsonSchema(rationale_schema())]  # `reply.parse` reads it
    fields: dict[str, Any] = {RATIONALE: (reasons, None)}
    taken = {RATIONALE, *space.keys.values()}
    for name, key in space.keys.items():
        plain_text = name.encode(errors="ignore").decode() == name  # Pydantic takes no lone surrogates
        alias = AliasChoices(key, name) if plain_text and name not in taken else key
        default = None if name in space.fixed else ...
        fields[FIELD + key] = (_annotation(name, space), Field(default, validation_alias=alias))
    return create_model("Configuration", __config__=ConfigDict(extra="allow", loc_by_alias=False), **fields)


@cache
def _loading() -> Future[type["BaseModel"]]:
    """Build a model in a thread: before the first, Pydantic is imported, and searches the disk for its plugins."""
    lane = JobThread("optuna-llm pydantic")
    loading = lane.submit(lambda: reply_model(make_space({"x": IntDistribution(0, 1)})))
    lane.close()
    return loading


_waiting: dict[asyncio.AbstractEventLoop, asyncio.Future[Any]] = {}  # for that thread

os.register_at_fork(after_in_child=_loading.cache_clear)  # the thread is not there


def rationale_schema() -> dict[str, Any]:
    """What the schema says of the model's reasons."""
    return {"type": "string", "description": "why this configuration, in at most 40 words"}


@lru_cache(maxsize=MODELS)
def json_schema(space: Space, *, rationale: bool = True) -> dict[str, Any]:
    """Give a flat object with one required key per parameter that has more than one value, `rationale` first.

    It is shared between calls: do not change it.
    """
    documents = reply_model(space).model_json_schema()["properties"]
    asked = [RATIONALE] * rationale + [key for name, key in space.keys.items() if name not in space.fixed]
    properties = {key: {word: documents[key][word] for word in KEYWORDS if word in documents[key]} for key in asked}
    return {"type": "object", "properties": properties, "required": asked, "additionalProperties": False}


def _enum(kind: str, values: Sequence[Any], name: str, space: Space) -> dict[str, Any]:
    words = _title(name, space)
    return {"type": kind, "enum": list(values)} | ({"description": words} if words else {})


def _title(name: str, space: Space) -> str:
    """Quote a parameter's name, where its key is another."""
    return "" if space.keys[name] == name else quote(name, NAME_LENGTH)


def _annotation(name: str, space: Space) -> Any:
    """Say what a field holds, how its value is read, and what the schema tells of it."""
    from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

    distribution, reads = space.distributions[name], partial(read, name)
    if name in space.fixed:
        return Annotated[Any, PlainValidator(reads)]
    if isinstance(distribution, CategoricalDistribution):
        document = _enum("string", space.labels[name], name, space)
        return Annotated[Any, PlainValidator(reads), WithJsonSchema(document)]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    kind = int if isinstance(distribution, IntDistribution) else float
    words = ": ".join(filter(None, [_title(name, space), in_words(distribution)]))
    return Annotated[kind, Field(ge=distribution.low, le=distribution.high, description=words), BeforeValidator(reads)]


def _violations(error: "ValidationError", space: Space) -> list[str]:
    """Put each error into a sentence: where it is, what is wrong, and what to give instead."""
    names = {FIELD + key: name for name, key in space.keys.items()}
    found = []
    for item in error.errors(include_url=False):
        if item["type"] == "model_type":
            found.append(f"the reply is {show(item['input'])}, not a JSON object")
        elif not item["loc"]:  # a key that is no text
            found.append(f"the reply cannot be read ({item['type']}); answer in plain Unicode text")
        else:
            name = names[str(item["loc"][0])]
            problem = "is missing" if item["type"] == "missing" else item["ctx"]["error"]
            found.append(f"`{space.keys[name]}`: {problem}; give {in_words(space.distributions[name])}")
    return found


def _limited(items: list[str], what: str) -> tuple[str, ...]:
    rest = len(items) - LISTED_PROBLEMS
    return (*items[:LISTED_PROBLEMS], f"and {rest} more {what}") if rest > 0 else tuple(items)
