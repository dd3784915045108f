"""What a trial keeps of its guidance, under keys of its attribute `llm`."""

import json
from typing import Any

from ...engine.records import Params
from ..space.axes import Axes, Choices, Interval
from ..space.notation import format_value
from ..space.untrusted import clean
from .strategy import Guidance

MAX_BYTES = 1200


def written(guidance: Guidance, axes: Axes, params: Params | None) -> dict[str, Any]:
    """The record of one proposal: `inside` is the share of the region's parameters that it stayed in."""
    record: dict[str, Any] = {"strategy": clean(guidance.strategy, 40), "form": guidance.form}
    if guidance.region and params is not None:
        record["inside"] = round(axes.inside(guidance.region, params), 3)
    region = {name: _part(axes, name, part) for name, part in guidance.region.items() if name in axes.by_name}
    if region and len(json.dumps(region)) <= MAX_BYTES:
        record["region"] = region
    return record


def _part(axes: Axes, name: str, part: Interval | Choices) -> dict[str, Any]:
    if isinstance(part, Choices):
        distribution = axes.by_name[name].distribution
        return {"of": [format_value(value, distribution) for value in part.values]}
    return {"from": part.low, "to": part.high}
