"""OpenAI's chats as messages of the protocol: what is taken, and that all else is refused."""

import json
from typing import Any

import pytest

from gateway.transport.http.chat import NEUTRAL, Chat, read_chat
from inference.llm.messages import read_sampling_request, without_sampling
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical

MESSAGES = [{"role": "system", "content": "Täglich"}, {"role": "user", "content": "Hello"}]


def read(**changes: Any) -> Chat:
    return read_chat(json.dumps({"model": "tiny", "messages": MESSAGES, **changes}).encode())


def asked(**changes: Any) -> Any:
    return read_sampling_request(read(**changes).request, lambda: 77, 128)


def test_messages_become_the_canonical_prompt() -> None:
    found = asked()
    assert found.is_chat
    assert found.prompt == canonical.encode(MESSAGES)


def test_a_content_may_come_in_parts() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    assert json.loads(asked(messages=[{"role": "user", "content": parts}]).prompt) == MESSAGES[1:]


def test_every_option_is_followed() -> None:
    sampling = asked(max_tokens=7, temperature=0.5, top_p=0.9, seed=3, stop=["a", "b"]).sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p) == (7, 0.5, 0.9)
    assert (sampling.seed, sampling.stop) == (3, ("a", "b"))
    assert asked(max_completion_tokens=9, stop="[x").sampling.stop == ("[x",)
    assert asked(max_completion_tokens=9).sampling.max_tokens == 9


def test_what_is_not_said_has_its_default() -> None:
    for changes in ({}, dict.fromkeys(["max_tokens", "temperature", "stop", "n", "seed"])):
        sampling = asked(**changes).sampling
        assert (sampling.max_tokens, sampling.temperature, sampling.stop) == (128, 0.0, ())
    assert asked(temperature=1).sampling.seed == 77


def test_how_the_answer_comes() -> None:
    assert (read().streams, read(stream=True).streams, read(n=1).usage) == (False, True, False)
    assert read(stream=True, stream_options={"include_usage": True}).usage


def test_what_asks_for_nothing_changes_nothing() -> None:
    plain = read().request
    for name, values in NEUTRAL.items():
        assert all(read(**{name: value}).request == plain for value in (*values, None))


def test_what_is_ours() -> None:
    own = {"receipt": True, "alias": "canary", "subject": "p-1", "timeout": 5, "nonce": "n" * 22}
    request = without_sampling(read(sealgate=own).request)
    assert request.parameters["receipt"].bool_param
    assert request.parameters["alias"].string_param == "canary"
    assert request.parameters["timeout"].int64_param == 5
    assert request.parameters["nonce"].string_param == "n" * 22
    assert read(sealgate={"version": "2"}).request.model_version == "2"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": 0}, "logprobs"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"user": "somebody"}, "user"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"Ünknown" * 30: 1}, None),
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"model": "\ud800"}, "model"),
        ({"messages": None}, "messages"),
        ({"n": 2}, "n"),
        ({"n": True}, "n"),
        ({"stream": 1}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"more": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "include_usage"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 1 << 70}, "max_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_completion_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": True}, "top_p"),
        ({"seed": 1.0}, "seed"),
        ({"stop": 1}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"sealgate": []}, "sealgate"),
        ({"sealgate": {"priority": 1}}, "sealgate.priority"),
        ({"sealgate": {"receipt": 1}}, "sealgate.receipt"),
        ({"sealgate": {"version": 1}}, "sealgate.version"),
    ],
)
def test_what_is_refused_by_name(changes: dict[str, Any], param: str | None) -> None:
    with pytest.raises(SealgateError) as found:
        read(**changes)
    assert found.value.reason is Reason.PARAMETER_MALFORMED
    told = found.value.facts["param"]
    assert told.isascii()
    assert len(told) <= 64
    assert param in (None, told)


@pytest.mark.parametrize(
    "messages",
    [
        {},
        ["Hello"],
        [{"role": "user"}],
        [{"content": "Hello"}],
        [{"role": 1, "content": "Hello"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": "Hello", "name": "x"}],
        [{"role": "user", "content": "\ud800"}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
        [{"role": "user", "content": ["Hello"]}],
        [{"role": "assistant", "tool_calls": [], "content": ""}],
    ],
)
def test_chats_that_are_none(messages: Any) -> None:
    with pytest.raises(SealgateError) as found:
        read(messages=messages)
    assert found.value.reason is Reason.CHAT_MALFORMED
    assert found.value.facts == {"param": "messages"}


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a": NaN}', b'{"model": 1, "model": 1}'])
def test_bodies_that_are_no_object(body: bytes) -> None:
    with pytest.raises(SealgateError) as found:
        read_chat(body)
    assert found.value.reason is Reason.MESSAGE_MALFORMED


QUESTION = {"role": "user", "content": "Hello"}


def prompt(message: object) -> list[dict[str, str]]:
    document = {"model": "tiny", "messages": [QUESTION, message, QUESTION]}
    asked = read_sampling_request(read_chat(json.dumps(document).encode()).request, lambda: 0)
    found: list[dict[str, str]] = json.loads(asked.prompt)
    return found


def test_a_tools_message_may_name_the_call_that_it_answers() -> None:
    told = {"role": "tool", "content": "12 degrees"}
    assert prompt({**told, "tool_call_id": "call_1"}) == [QUESTION, told, QUESTION]


def test_null_fields_of_a_message_are_ignored() -> None:
    answer = {"role": "assistant", "content": "Hi."}
    assert prompt({**answer, "refusal": None, "audio": None}) == [QUESTION, answer, QUESTION]


@pytest.mark.parametrize(
    "more", [{"refusal": "No."}, {"content": None}, {"tool_calls": []}, {"tool_call_id": 1}]
)
def test_other_unknown_fields_of_a_message_are_refused(more: dict[str, object]) -> None:
    with pytest.raises(SealgateError) as found:
        prompt({"role": "assistant", "content": "Hi.", **more})
    assert found.value.reason is Reason.CHAT_MALFORMED


def test_half_a_surrogate_pair_as_a_version_is_refused() -> None:
    chat = {"model": "tiny", "messages": [], "sealgate": {"version": "\ud800"}}
    with pytest.raises(SealgateError) as found:
        read_chat(json.dumps(chat).encode())
    assert found.value.reason is Reason.PARAMETER_MALFORMED
    assert found.value.facts == {"param": "sealgate.version"}
