"""A client of one's own in ten lines: `instructor` asks the model, checks its answer, and asks again where it is wrong.

Use it where you have it already, with validators of your own. Otherwise a model string does the same, and puts tokens
and cost on record as well.

Install: pip install . instructor; a key for the provider in the environment
"""

from typing import Any

import instructor
import optuna
from optuna.distributions import IntDistribution
from pydantic import BaseModel, Field

from optuna_llm import FunctionClient, LLMGuidedSampler, Request, optimize

MODEL = "openai/gpt-5.4-mini"  # or another that instructor knows
OPTIONS: dict[str, Any] = {}  # for a server of your own: {"base_url": "http://localhost:8080/v1", "api_key": "none"}
N_TRIALS = 6
SPACE = {"rows": IntDistribution(1, 40), "columns": IntDistribution(1, 40)}
TASK = "Arrange 210 pictures in rows and columns: minimize |rows * columns - 210| + |rows - columns|."


class Layout(BaseModel):
    rationale: str = Field(max_length=200)
    rows: int = Field(ge=1, le=40)
    columns: int = Field(ge=1, le=40, description="of one row")


CLIENT = instructor.from_provider(MODEL, async_client=True, mode=instructor.Mode.JSON_SCHEMA, **OPTIONS)


async def ask(request: Request) -> dict[str, object]:
    messages = [{"role": message["role"], "content": message["content"]} for message in request.messages]
    layout = await CLIENT.create(response_model=Layout, messages=messages, max_retries=2)
    return layout.model_dump()


def badness(trial: optuna.Trial) -> float:
    rows, columns = trial.suggest_int("rows", 1, 40), trial.suggest_int("columns", 1, 40)
    return abs(rows * columns - 210) + abs(rows - columns)


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = LLMGuidedSampler(FunctionClient(ask), task=TASK, strategy="plain")  # menus have another form of answer
    study = optuna.create_study(sampler=sampler)
    optimize(study, badness, n_trials=N_TRIALS, search_space=SPACE)
    print(f"Best of {len(study.trials)}: {study.best_value:.0f} with {study.best_params}")
