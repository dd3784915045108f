"""Tokens are guessed high at first, then from what replies took."""

from optuna_llm import Request, Usage
from optuna_llm.samplers.limits.budget import most_tokens
from optuna_llm.samplers.limits.limited_client import Estimator

REQUEST = Request(
    messages=[{"role": "user", "content": "word " * 200}], schema={"properties": {"x": {}}}, max_tokens=300
)


def test_the_first_guess_is_generous() -> None:
    assert Estimator().estimate(REQUEST) > 400


def test_later_guesses_follow_the_largest_of_the_last_replies() -> None:
    estimator = Estimator()
    estimator.learn(REQUEST, Usage(prompt_tokens=200, completion_tokens=10))
    estimator.learn(REQUEST, Usage(prompt_tokens=250, completion_tokens=40))
    estimator.learn(REQUEST, Usage(prompt_tokens=210, completion_tokens=20))
    assert estimator.estimate(REQUEST) == 290
    assert estimator.typical() == 290


def test_what_was_long_ago_is_forgotten() -> None:
    estimator = Estimator()
    estimator.learn(REQUEST, Usage(prompt_tokens=2000, completion_tokens=1000))
    for _ in range(40):
        estimator.learn(REQUEST, Usage(prompt_tokens=200, completion_tokens=10))
    assert estimator.estimate(REQUEST) == 210


def test_before_the_first_reply_a_request_counts_as_a_large_one() -> None:
    assert Estimator().typical() == 2000


def test_no_tokenizer_makes_more_of_a_prompt_than_its_bytes() -> None:
    request = Request(messages=[{"role": "user", "content": "ü" * 100}], schema={"type": "object"})
    assert most_tokens(request) >= 200 + len('{"type": "object"}')
