"""What arguments name: a module's objective with its search space, a storage, a study, a model."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, JournalStorage, get_storage
from optuna.storages.journal import JournalFileBackend

from .. import Client, UsageError
from ..samplers.client.resolve import LOCAL, provider_client, resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An objective, and what its module says beside it: `search_space`, `task` and `parameters`, if it does."""

    objective: Callable[..., Any]
    search_space: Mapping[str, BaseDistribution] | None
    task: Any
    parameters: Mapping[str, str] | None


def source_named(name: str) -> Source:
    """Import MODULE:OBJECTIVE, from the working directory too. Raises `UsageError` where there is none."""
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise UsageError(f"{name!r} is not of the form MODULE:OBJECTIVE, such as train:objective")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UsageError(f"cannot import {module_name!r}: no module named {error.name!r}") from error
    objective = getattr(module, attribute, None)
    if not callable(objective):
        raise UsageError(f"module {module_name!r} has no function {attribute!r}")
    return Source(
        objective=objective,
        search_space=getattr(module, "search_space", None),
        task=getattr(module, "task", ""),
        parameters=getattr(module, "parameters", None),
    )


def storage_named(name: str) -> BaseStorage:
    """Open a storage: a URL, or a journal file where the path ends in .journal or .log."""
    if "://" not in name and name.endswith((".journal", ".log")):
        return JournalStorage(JournalFileBackend(name))
    try:
        return get_storage(name)
    except Exception as error:  # whatever a database driver raises
        raise UsageError(f"cannot open the storage ({type(error).__name__}): give a URL, or a .journal file") from error


def existing_storage(name: str) -> BaseStorage:
    """Open a storage that is there: a journal that is not would be made."""
    if "://" not in name and not os.path.exists(name):
        raise UsageError(f"there is no file {name!r}")
    return storage_named(name)


def study_named(storage: str, name: str) -> optuna.Study:
    """Load a study. Raises `UsageError`, with the names that there are, where it does not exist."""
    opened = existing_storage(storage)
    try:
        return optuna.load_study(study_name=name, storage=opened)
    except KeyError as error:
        names = ", ".join(map(repr, optuna.get_all_study_names(opened)[:10])) or "none"
        raise UsageError(f"no study {name!r} in this storage; it has {names}") from error


def client_named(model: str, api_base: str | None, api_key_env: str | None) -> Client:
    """Make a client; the key is read from the environment variable named, so that it is in no process list."""
    if model.partition(":")[0] == LOCAL:
        if api_base or api_key_env:
            raise UsageError(f"{model!r} runs in this process: it takes neither --api-base nor --api-key-env")
        return resolve(model)
    key = None
    if api_key_env is not None:
        key = os.environ.get(api_key_env)
        if not key:
            raise UsageError(f"the environment variable {api_key_env!r} is not set")
    return provider_client(model, api_base=api_base, api_key=key)
