"""Public names go through each folder's `__init__`, complete and sorted."""

import importlib
from types import ModuleType

import pytest

import optuna_llm

FOLDERS = [
    "optuna_llm",
    "optuna_llm.engine",
    "optuna_llm.report",
    "optuna_llm.samplers",
    "optuna_llm.samplers.client",
    "optuna_llm.samplers.guidance",
    "optuna_llm.samplers.limits",
    "optuna_llm.samplers.recording",
    "optuna_llm.samplers.task",
    "optuna_llm.workers",
    "optuna_llm.workers.dask",
]
CONTRACT = {
    "AsyncTrial",
    "AuthenticationError",
    "Best",
    "Budget",
    "BudgetExhaustedError",
    "Call",
    "Client",
    "ClientError",
    "ContextPolicy",
    "CoroutineWorkers",
    "DaskWorkers",
    "DeadlineExceededError",
    "Evidence",
    "ExecutorWorkers",
    "Failure",
    "FunctionClient",
    "Guidance",
    "InFlightConfiguration",
    "LLMGuidedSampler",
    "Limits",
    "LiteLLMClient",
    "ModelNotFoundError",
    "Objective",
    "OpenAsk",
    "OptunaLLMError",
    "Outcome",
    "Prices",
    "ProcessWorkers",
    "Proposal",
    "ProposalError",
    "QuotaExceededError",
    "RecordingClient",
    "ReplayClient",
    "Reply",
    "Request",
    "RunReport",
    "Situation",
    "Strategy",
    "ThreadWorkers",
    "ThrottledError",
    "TransientError",
    "TrialWindow",
    "Usage",
    "UsageError",
    "WorkerCapabilities",
    "WorkerError",
    "Workers",
    "__version__",
    "ask_async",
    "describe",
    "optimize",
    "to_dataframe",
    "optimize_async",
}
NOT_BUILT_YET: set[str] = set()


def exported(module: ModuleType) -> set[str]:
    """Names that the folder took out of its own files; submodules are there only because Python puts them there."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and is_ours(value)
    }


def is_ours(value: object) -> bool:
    return getattr(value, "__module__", "optuna_llm").split(".")[0] == "optuna_llm"


@pytest.mark.parametrize("folder", FOLDERS)
def test_all_is_complete(folder: str) -> None:
    module = importlib.import_module(folder)
    assert set(module.__all__) >= exported(module)


@pytest.mark.parametrize("folder", FOLDERS)
def test_all_is_sorted_and_without_repetition(folder: str) -> None:
    names = list(importlib.import_module(folder).__all__)
    assert names == sorted(set(names))


@pytest.mark.parametrize("folder", FOLDERS)
def test_all_holds_only_names_that_exist(folder: str) -> None:
    module = importlib.import_module(folder)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_a_forgotten_name_is_noticed() -> None:
    module = ModuleType("optuna_llm.offender")
    vars(module)["Forgotten"] = type("Forgotten", (), {"__module__": "optuna_llm.offender"})
    assert exported(module) == {"Forgotten"}


def test_the_package_exports_the_contract_as_far_as_it_is_built() -> None:
    assert set(optuna_llm.__all__) == CONTRACT - NOT_BUILT_YET
