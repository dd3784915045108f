"""Take secrets out of text before anyone sees it."""

import re
from collections.abc import Iterable
from typing import Final

REMOVED: Final = "[removed]"
SHORTEST_SECRET: Final = 6  # local servers are given keys such as "none": removing those would only garble the text

_KEY_PREFIX: Final = r"\b(?:sk|pk|rk|gsk|xai|hf|ghp|pplx|r8|tgp)"
_KEY_LIKE: Final = (
    # Not `skip_connect` or `hf_model_name`: keys have digits (or stars, where masked), or are one long word.
    re.compile(_KEY_PREFIX + r"-(?:(?=[-_A-Za-z]*[0-9*])[-_A-Za-z0-9*]{8,}|[A-Za-z]{16,})"),
    re.compile(_KEY_PREFIX + r"_(?:(?=[-_A-Za-z]*[0-9*])[-_A-Za-z0-9*]{16,}|[A-Za-z]{20,})"),
    re.compile(r"\b(?:AIza|AKIA)[-_A-Za-z0-9*]{8,}"),
    re.compile(r"(?i)(?<=\bbearer )\S+"),
    re.compile(r"(?i)(?<=[?&]key=)[^&\s'\"]+"),
    re.compile(r"(?i)(?<=api[-_]key=)[^&\s'\"]+"),
    re.compile(r"(?<=://)[^/\s@]+(?=@)"),
    re.compile(r"\b(?=[A-Za-z_-]*[0-9])[-_A-Za-z0-9]{40,}"),
)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without `secrets` and without anything that looks like a key, a bearer token or a URL's password."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, REMOVED)
    for pattern in _KEY_LIKE:
        text = pattern.sub(REMOVED, text)
    return text
