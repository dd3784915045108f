"""The search space as the model meets it: parameters under keys that are safe in JSON, choices under labels."""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from ...engine.study.distributions import check_search_space
from .notation import labels

RATIONALE = "rationale"  # the key of the model's reasons, which no parameter can have
KEY_LENGTH = 64  # what OpenAI and Anthropic take as the name of a property

_KEY = re.compile(r"[A-Za-z0-9_]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Parameters in order, each with the key that stands for it in the JSON document.

    `labels` holds the texts of each categorical parameter's choices, `fixed` the value of each parameter that has only
    one. Spaces are equal if their parameters are, in order and to the type of each choice.
    """

    distributions: Mapping[str, BaseDistribution] = field(compare=False)
    keys: Mapping[str, str] = field(compare=False)
    labels: Mapping[str, tuple[str, ...]] = field(compare=False, repr=False)
    fixed: Mapping[str, Any] = field(compare=False, repr=False)
    identity: tuple[str, ...] = field(repr=False)


def make_space(distributions: Mapping[str, BaseDistribution]) -> Space:
    """Make the space of `distributions`. Raises `UsageError` for what no model could propose, or no storage hold."""
    checked = check_search_space(distributions)
    return _space(checked, _keys(checked))


def narrow(space: Space, names: Iterable[str]) -> Space:
    """Cut a space down to these names, under the same keys; the space itself if that is all of it."""
    wanted = set(names)
    kept = {name: distribution for name, distribution in space.distributions.items() if name in wanted}
    return space if len(kept) == len(space.distributions) else _space(kept, space.keys)


def _space(distributions: Mapping[str, Any], keys: Mapping[str, str]) -> Space:
    texts = {name: labels(d.choices) for name, d in distributions.items() if isinstance(d, CategoricalDistribution)}
    return Space(
        distributions=distributions,
        keys={name: keys[name] for name in distributions},
        labels=texts,
        fixed={name: d.choices[0] if name in texts else d.low for name, d in distributions.items() if d.single()},
        identity=tuple(f"{keys[name]}={name!r}: {d!r}" for name, d in distributions.items()),
    )


def _keys(names: Iterable[str]) -> dict[str, str]:
    """Give every name a key. Names that are keys already keep themselves; the others must not take one of those."""
    keys = {name: name for name in names if _KEY.fullmatch(name) and name != RATIONALE}
    taken = {RATIONALE, *keys}
    for name in names:
        if name not in keys:
            keys[name] = _free_key(_safe_key(name), taken)
            taken.add(keys[name])
    return {name: keys[name] for name in names}


def _safe_key(name: str) -> str:
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_]+", "_", ascii_name).strip("_")[:KEY_LENGTH] or "parameter"


def _free_key(key: str, taken: set[str]) -> str:
    suffixes = itertools.chain([""], (f"_{number}" for number in itertools.count(2)))
    candidates = (key[: KEY_LENGTH - len(suffix)] + suffix for suffix in suffixes)
    return next(candidate for candidate in candidates if candidate not in taken)
