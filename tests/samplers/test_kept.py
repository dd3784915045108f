"""A sampler keeps no study and no storage alive, whatever it was asked through; what must stay is in the study."""

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from support import SPACE, SchemaModel, Script, sampler

from optuna_llm import (
    Budget,
    FunctionClient,
    Guidance,
    LLMGuidedSampler,
    OptunaLLMError,
    Reply,
    Request,
    Situation,
    ask_async,
    optimize_async,
)
from optuna_llm.samplers.client.llm_loop import run_sync


def in_sqlite(folder: Path) -> BaseStorage:
    return RDBStorage(f"sqlite:///{folder}/study.db")


def in_journal(folder: Path) -> BaseStorage:
    return JournalStorage(JournalFileBackend(str(folder / "study.log")))


def in_memory(folder: Path) -> BaseStorage:
    return InMemoryStorage()


def suggest(trial: optuna.Trial) -> float:
    value = trial.suggest_float("x", 0, 1)
    return value + (trial.suggest_float("y", 0, 1) if value > 0.5 else 0)


OF_A_RUN = ("optuna-llm storage", "optuna-llm helper")  # they end soon after it, and hold the study until then


async def nothing() -> None:
    pass


def collect() -> None:
    """Collect garbage, when the model's loop is done with the last call and the threads of runs have ended."""
    run_sync(nothing)
    for thread in threading.enumerate():
        if thread.name in OF_A_RUN:
            thread.join(10)
    gc.collect()


def by_hand(study: optuna.Study) -> None:
    trial = study.ask()
    study.tell(trial, suggest(trial))


def optimize(study: optuna.Study) -> None:
    study.optimize(suggest, n_trials=2)


def in_threads(study: optuna.Study) -> None:
    study.optimize(suggest, n_trials=4, n_jobs=3)


def in_a_batch(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 0.25})
    for trial in anyio.run(lambda: ask_async(study, 3, search_space={"x": FloatDistribution(0, 1)})):
        study.tell(trial, 1.0)


def in_a_run(study: optuna.Study) -> None:
    anyio.run(lambda: optimize_async(study, lambda trial: suggest(trial), n_trials=3, n_workers=2))


def proposals(study: optuna.Study) -> None:
    by_hand(study)
    anyio.run(lambda: study.sampler.propose(study, 2))  # type: ignore[union-attr]


def in_a_changed_range(study: optuna.Study) -> None:
    by_hand(study)
    trial = study.ask()
    study.tell(trial, trial.suggest_float("x", 0.2, 0.3))


WAYS = [by_hand, optimize, in_threads, in_a_batch, in_a_run, proposals, in_a_changed_range]


@pytest.mark.parametrize("make", [in_sqlite, in_journal, in_memory])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("options", [{}, {"budget": Budget(requests=100)}], ids=["free", "capped"])
def test_a_study_and_its_storage_end_with_their_user(
    make: Callable[[Path], BaseStorage], way: Callable[[optuna.Study], None], options: dict[str, Any], tmp_path: Path
) -> None:
    kept = sampler(SchemaModel(), **options)
    storage = make(tmp_path)
    study = optuna.create_study(storage=storage, sampler=kept)
    way(study)
    ends = weakref.ref(study), weakref.ref(storage)
    assert len(kept._proposers) == 1
    del study, storage
    collect()
    assert [end() for end in ends] == [None, None]
    assert len(kept._proposers) == 0


@pytest.fixture
def no_log() -> Iterator[None]:
    """Optuna logs what an objective raised, and pytest keeps the log, with all frames of the traceback."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    yield
    optuna.logging.set_verbosity(before)


@pytest.mark.usefixtures("no_log")
@pytest.mark.parametrize("way", [by_hand, optimize, in_threads, in_a_batch, in_a_run])
def test_so_they_do_when_asking_failed(way: Callable[[optuna.Study], None]) -> None:
    kept = sampler(Script("nonsense"), max_reasks=0, search_space=SPACE | {"x": FloatDistribution(0, 1)})
    study = optuna.create_study(sampler=kept)
    ends = weakref.ref(study), weakref.ref(study._storage)
    with suppress(OptunaLLMError):
        way(study)
    del study
    collect()
    assert [end() for end in ends] == [None, None]


def served(kept: LLMGuidedSampler, folder: Path, name: str = "s") -> int:
    """One request of a service that loads its study each time; returns how many trials the study has then."""
    study = optuna.load_study(study_name=name, storage=in_sqlite(folder), sampler=kept)
    by_hand(study)
    return len(study.trials)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    optuna.create_study(storage=in_sqlite(tmp_path), study_name="s")
    yield tmp_path
    collect()


def test_a_service_leaves_nothing_behind_in_what_lives_as_long_as_it(folder: Path) -> None:
    kept = sampler(SchemaModel(), budget=Budget(requests=1000))
    for _ in range(5):
        served(kept, folder)
        collect()
    assert len(kept._proposers) == 0
    assert len(kept._account.runs) <= 2  # names are used again; one may be given up only after the next was taken
    assert not list(kept._account._elsewhere)
    assert not list(kept._stack.limiter._sharing)


@pytest.mark.parametrize("at_once", [1, 4])
def test_what_was_spent_before_counts_once_however_many_storages_the_study_has(folder: Path, at_once: int) -> None:
    space = {name: FloatDistribution(0, 1) for name in "xy"}
    before = sampler(SchemaModel(1), search_space=space)
    for _ in range(6):
        served(before, folder)
    after = sampler(SchemaModel(2), search_space=space, budget=Budget(requests=6 + 8))
    with ThreadPoolExecutor(at_once) as pool:
        assert max(pool.map(lambda _: served(after, folder), range(8))) == 6 + 8
    with pytest.raises(OptunaLLMError, match="14 requests"):
        served(after, folder)


@pytest.mark.parametrize("reasks", [0, 2])
def test_what_was_spent_in_vain_is_in_the_study_before_it_is_dropped(folder: Path, reasks: int) -> None:
    kept = sampler(Script("nonsense"), max_reasks=reasks, search_space=SPACE)
    for _ in range(3):
        with pytest.raises(OptunaLLMError):
            served(kept, folder)
        collect()
    attributes = optuna.load_study(study_name="s", storage=in_sqlite(folder)).user_attrs
    spent = [value["requests"] for name, value in attributes.items() if name.startswith("llm_spending:")]
    assert sum(spent) == 3 * (1 + reasks)
    again = sampler(SchemaModel(), search_space=SPACE, budget=Budget(requests=sum(spent)))
    with pytest.raises(OptunaLLMError, match="used up"):
        served(again, folder)


def test_a_study_that_stays_keeps_its_proposer_when_another_ends(folder: Path) -> None:
    kept = sampler(SchemaModel())
    stays = optuna.create_study(sampler=kept)
    by_hand(stays)
    state = kept.door(stays).state
    served(kept, folder)
    collect()
    assert kept.door(stays).state is state
    by_hand(stays)


class Watched:
    """A strategy that notes which of the situations that it saw are still there."""

    name = "watched"

    def __init__(self) -> None:
        self.seen: list[weakref.ref[Situation]] = []

    def guide(self, situation: Situation) -> Guidance:
        self.seen.append(weakref.ref(situation))
        return Guidance(strategy=self.name)


def test_an_ask_keeps_nothing_of_its_situation_while_the_model_answers() -> None:
    watched, model = Watched(), SchemaModel()

    def look(request: Request) -> Reply:
        gc.collect()
        assert [ref() for ref in watched.seen] == [None]  # a thousand asks may be open
        return model(request)

    kept = LLMGuidedSampler(FunctionClient(look), search_space=SPACE, strategy=watched)
    anyio.run(kept.propose, optuna.create_study())
    assert len(watched.seen) == 1
