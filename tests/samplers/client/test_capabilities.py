"""What a client says about itself, in whatever way it says it."""

from pathlib import Path
from typing import Any

import pytest

from optuna_llm import FunctionClient, LiteLLMClient, RecordingClient, Reply, Request
from optuna_llm.samplers.client.protocol import Capabilities, Prices, capabilities_of


class Own:
    """A user's client, which says nothing."""

    async def complete(self, request: Request) -> Reply:
        return Reply(text="{}")

    async def aclose(self) -> None:
        """Nothing is held."""


class Saying(Own):
    """A user's client, which says everything."""

    model = "mine"

    async def prices(self) -> Prices:
        return Prices(prompt=1.0, completion=2.0)


@pytest.mark.asyncio
async def test_a_client_that_says_nothing_has_its_class_for_a_model_and_unknown_prices() -> None:
    found = capabilities_of(Own())
    assert found.model == "Own"
    assert not (await found.prices()).known


@pytest.mark.asyncio
async def test_attributes_of_a_users_own_client_are_read() -> None:
    found = capabilities_of(Saying())
    assert found.model == "mine"
    assert await found.prices() == Prices(prompt=1.0, completion=2.0)


@pytest.mark.parametrize("client", [Own(), Saying(), FunctionClient(str), LiteLLMClient("openai/x")])
def test_a_recording_passes_on_what_its_client_says(client: Any, tmp_path: Path) -> None:
    found = RecordingClient(client, tmp_path / "run.jsonl").capabilities
    assert isinstance(found, Capabilities)
    assert found == capabilities_of(client)
