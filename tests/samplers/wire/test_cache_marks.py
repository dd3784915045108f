"""Where a prompt is marked for a provider's cache, and for which providers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optuna_llm.samplers.wire.cache_marks import (
    MARK,
    MOST_MARKS,
    caches_at_marks,
    is_about_marks,
    mark_arguments,
    marked,
)

AT_MARKS = {"supports_prompt_cache_breakpoint": True}
CACHES = {"supports_prompt_caching": True}


def joined(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


TEXTS = st.text(st.sampled_from("ab \n"), max_size=40)


@given(st.sampled_from(["rules", "", " "]), TEXTS, st.lists(st.integers(-3, 45)))
def test_parts_are_the_same_text_with_few_marks_and_none_on_the_last(head: str, content: str, ends: list[int]) -> None:
    messages = [{"role": "system", "content": head}, {"role": "user", "content": content}]
    parted = marked(messages, ends)
    assert [joined(message["content"]) for message in parted] == [head, content]
    system, user = (message["content"] if isinstance(message["content"], list) else [] for message in parted)
    assert sum("cache_control" in part for part in [*system, *user]) <= MOST_MARKS
    assert all(part["text"].strip() for part in [*system, *user])
    assert len(user) != 1
    if user:
        assert "cache_control" not in user[-1]
        assert user[-2]["cache_control"] == MARK


def test_marks_are_on_the_head_and_the_last_three_ends_and_not_on_re_asks() -> None:
    more = [{"role": "assistant", "content": "{}"}, {"role": "user", "content": "wrong"}]
    messages = [{"role": "system", "content": "rules"}, {"role": "user", "content": "aabbccddee tail"}, *more]
    parted = marked(messages, (2, 4, 6, 8, 10))
    texts = [(part["text"], "cache_control" in part) for part in parted[1]["content"]]
    assert texts == [("aa", False), ("bb", False), ("cc", True), ("dd", True), ("ee", True), (" tail", False)]
    assert parted[2:] == more


@pytest.mark.parametrize(
    ("model", "info", "base", "extra", "marks"),
    [
        ("anthropic/claude-sonnet-4-5", {}, None, {}, True),
        ("anthropic/claude-sonnet-4-5", {}, "http://localhost:1", {}, True),
        ("bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", CACHES, None, {}, True),
        ("bedrock/anthropic.claude-3-haiku-20240307-v1:0", {}, None, {}, False),
        ("bedrock/amazon.nova-lite-v1:0", CACHES, None, {}, False),
        ("vertex_ai/claude-sonnet-4-5", {}, None, {}, True),
        ("vertex_ai/gemini-2.5-flash", CACHES, None, {}, False),
        ("openrouter/anthropic/claude-sonnet-4.5", {}, None, {}, True),
        ("openrouter/openai/gpt-5.6", {}, None, {}, False),
        ("openai/gpt-5.6", AT_MARKS, None, {}, True),
        ("openai/gpt-5.6", AT_MARKS, "http://localhost:1/v1", {}, False),
        ("openai/gpt-5.6", AT_MARKS, "http://localhost:1/v1", {"prompt_cache_options": {"mode": "explicit"}}, True),
        ("openai/gpt-5-mini", CACHES, None, {}, False),
        ("azure/gpt-5.6", AT_MARKS, None, {}, False),
        ("deepseek/deepseek-chat", CACHES, None, {}, False),
        ("ollama_chat/claude-like", {}, None, {}, False),
        ("anthropic/claude-sonnet-5", {}, None, {"cache_control": {"type": "ephemeral"}}, False),
        ("anthropic/claude-sonnet-5", {}, None, {"cache_control_injection_points": [{"location": "message"}]}, False),
        ("anthropic/claude-sonnet-5", {}, None, {"cache_control_injection_points": []}, True),
    ],
)
def test_the_provider_says_whether_there_are_marks(
    model: str, info: dict[str, Any], base: str | None, extra: dict[str, Any], marks: bool
) -> None:
    assert caches_at_marks(model, info, api_base=base, extra=extra) is marks


def test_openais_own_mark_at_the_changing_end_is_turned_off_unless_the_user_wants_it() -> None:
    explicit = {"prompt_cache_options": {"mode": "explicit"}}
    assert mark_arguments("openai/gpt-5.6", {}) == {"extra_body": explicit}
    assert mark_arguments("openai/gpt-5.6", {"extra_body": {"a": 1}}) == {"extra_body": {"a": 1, **explicit}}
    assert mark_arguments("openai/gpt-5.6", {"prompt_cache_options": {"mode": "implicit"}}) == {}
    assert mark_arguments("anthropic/claude-sonnet-5", {}) == {}


@pytest.mark.parametrize(
    ("refusal", "about"),
    [
        ("messages.0.content.1.cache_control: Extra inputs are not permitted", True),
        ("You invoked an unsupported model or your request did not allow prompt caching.", True),
        ("Unknown parameter: 'prompt_cache_options'.", True),
        ("No endpoints found that support cache control", True),
        ("answered 422 for 'body.messages.0.content': Input should be a valid string", True),
        ("('messages.0.content' : value must be a string)", True),
        ("messages[0]: invalid type: sequence, expected a string at line 1", True),
        ("metadata.user_id: Input should be a valid string", False),
        ("temperature must be below 2", False),
    ],
)
def test_a_refusal_of_marks_is_told_from_others(refusal: str, about: bool) -> None:
    assert is_about_marks(refusal) is about
