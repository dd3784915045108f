"""Quota headers make us wait, and never hurry."""

from datetime import UTC, datetime

import pytest

from optuna_llm.samplers.client.headers import pause_wanted

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("quota", "seconds"),
    [
        ({}, 0),
        ({"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "30s"}, 0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}, 1),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "120ms"}, 0.12),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "0m6.5s"}, 6.5),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "7"}, 7),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "soon"}, 0),
        ({"x-ratelimit-remaining-requests": "0"}, 0),
        ({"x-ratelimit-remaining-tokens": "900", "x-ratelimit-reset-tokens": "2s"}, 2),
        ({"x-ratelimit-remaining-tokens": "1000", "x-ratelimit-reset-tokens": "2s"}, 0),
        ({"x-ratelimit-remaining-tokens": "many", "x-ratelimit-reset-tokens": "2s"}, 0),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-11-24T12:00:09Z",
            },
            9,
        ),
        (
            {
                "anthropic-ratelimit-input-tokens-remaining": "10",
                "anthropic-ratelimit-input-tokens-reset": "2026-11-24T11:00:09Z",
            },
            0,
        ),
    ],
)
def test_headers_of_every_style_are_read(quota: dict[str, str], seconds: float) -> None:
    assert pause_wanted(quota, 1000, NOW) == pytest.approx(seconds)
