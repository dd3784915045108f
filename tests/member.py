"""One of several processes on a study: `member.py URL FOLDER OPTIONS`, OPTIONS a JSON object of `optimize_async`'s.

It appends to FOLDER/diary what it did: "began NUMBER PID", and "told NUMBER VALUE" once a result is stored. With the
option `together` none of its trials ends before so many processes have begun one.
"""

import json
import logging
import os
import random
import sys
from pathlib import Path

import anyio
import optuna
from member_storage import opened
from support import SPACE, SchemaModel, sampler

from optuna_llm import AsyncTrial, Limits, LiteLLMClient, LLMGuidedSampler, optimize_async

url, folder, given = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
optuna.logging.disable_default_handler()
optuna.logging.enable_propagation()
logging.basicConfig(level=logging.INFO, filename=folder / f"log-{os.getpid()}")
seconds = given.pop("seconds", 0.05)
api_base = given.pop("api_base", None)
rate = given.pop("requests_per_minute", None)
baseline = given.pop("random", False)
together = given.pop("together", 1)


def write(line: str) -> None:
    with open(folder / "diary", "a", encoding="utf-8") as diary:
        diary.write(f"{line}\n")


def begun() -> set[str]:
    """Processes that have begun a trial."""
    entries = [line.split() for line in (folder / "diary").read_text(encoding="utf-8").splitlines()]
    return {entry[2] for entry in entries if entry[0] == "began" and len(entry) == 3}


async def objective(trial: AsyncTrial) -> float:
    write(f"began {trial.number} {os.getpid()}")
    while len(begun()) < together:  # noqa: ASYNC110 - what it waits for happens in other processes
        await anyio.sleep(0.01)
    await anyio.sleep(random.uniform(0.5, 1.5) * seconds)
    return float(trial.number)


chosen: optuna.samplers.BaseSampler
if baseline:
    chosen = optuna.samplers.RandomSampler()
elif api_base:
    client = LiteLLMClient("openai/fault", api_base=api_base, api_key="sk-loopback")
    chosen = LLMGuidedSampler(client, limits=Limits(requests_per_minute=rate))
else:
    chosen = sampler(SchemaModel(seed=os.getpid()))
study = optuna.load_study(study_name="s", storage=opened(url), sampler=chosen)
report = anyio.run(
    lambda: optimize_async(
        study,
        objective,
        search_space=SPACE,
        callbacks=[lambda _, trial: write(f"told {trial.number} {trial.value}")],
        **given,
    )
)
write(f"ended {report.stop_reason} {report.n_complete}")
