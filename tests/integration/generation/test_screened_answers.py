"""Screened answers by gRPC and OpenAI's protocol, whole and streamed.

The tests check the released text, its entry and its receipt. The finding is a canary: a word that
the model says anyway.
"""

import http
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.remote import reason_of
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256
from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.builders import chats, generated
from tests.support.builders.chats import MESSAGES, begun, events, post
from tests.support.builders.generated import asked
from tests.support.harness.clients.http_client import HTTP, client_of
from tests.support.harness.generator import GeneratorHarness, generating
from tests.support.harness.policy_changes import change

pytestmark = pytest.mark.slow

_DRAWN = {"max_tokens": 64, "temperature": 1.0}
_SEEDS = range(1, 40)
_LONG = re.compile(r"(?<![\w-])[A-Za-z0-9_-]{8,}(?![\w-])")


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[GeneratorHarness]:
    with generating(tmp_path_factory.mktemp("state"), folder, HTTP) as harness:
        screened(harness, {})
        yield harness


def screened(harness: GeneratorHarness, answers: dict[str, object]) -> None:
    screen = {"verdicts": {"adversarial": "flag"}, **({"answers": answers} if answers else {})}
    change(harness, lambda policy: policy.update(screens={"tiny": screen}))


class Seen(NamedTuple):
    """A caller's result: the text, why it ended or was refused, and the receipt."""

    text: str
    finish: str
    receipt: str


def _request(seed: int) -> oip.ModelInferRequest:
    prompt = canonical.encode(MESSAGES)
    return asked(prompt, name="messages", receipt=True, seed=seed, **_DRAWN)


def by_grpc(harness: GeneratorHarness, seed: int) -> Seen:
    try:
        whole = harness.inference().ModelInfer(_request(seed))
    except grpc.RpcError as error:
        reason = reason_of(error)
        return Seen("", reason.name if reason else "", "")
    said = whole.parameters
    finish, receipt = said["finish_reason"].string_param, said["receipt"].string_param
    return Seen(generated.text_of(whole), finish, receipt)


def by_grpc_stream(harness: GeneratorHarness, seed: int) -> Seen:
    parts = generated.stream(harness, _request(seed))
    text = "".join(generated.text_of(p.infer_response) for p in parts if not p.error_message)
    if parts[-1].error_message:
        return Seen(text, parts[-1].error_message.partition(":")[0], "")
    said = parts[-1].infer_response.parameters
    return Seen(text, said["finish_reason"].string_param, said["receipt"].string_param)


def by_http(harness: GeneratorHarness, seed: int) -> Seen:
    client = client_of(harness)
    seen = post(client, seed=seed, sealgate={"receipt": True}, **_DRAWN)
    client.close()
    if "error" in seen.json:
        return Seen("", seen.json["error"]["code"], "")
    choice = seen.json["choices"][0]
    return Seen(chats.text_of(seen.json), choice["finish_reason"], seen.json["sealgate"]["receipt"])


def by_http_stream(harness: GeneratorHarness, seed: int) -> Seen:
    client = client_of(harness)
    response = begun(client, seed=seed, sealgate={"receipt": True}, **_DRAWN)
    if response.status != http.HTTPStatus.OK:
        return Seen("", json.loads(response.read())["error"]["code"], "")
    seen = events(response)
    client.close()
    parts = [each for each in seen if each != "[DONE]"]
    choices = [choice for each in parts for choice in each.get("choices", ())]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return Seen(text, choices[-1]["finish_reason"], parts[-1]["sealgate"]["receipt"])


_WAYS = [by_grpc, by_grpc_stream, by_http, by_http_stream]


class Answer(NamedTuple):
    """The model's own answer to a seed, with a long word before its last tokens."""

    seed: int
    text: str
    canary: str


@pytest.fixture(scope="module")
def answer(harness: GeneratorHarness) -> Answer:
    for seed in _SEEDS:
        text = by_grpc(harness, seed).text
        found = _LONG.search(text[: len(text) // 2])
        if found:
            return Answer(seed, text, found[0])
    raise AssertionError("it says no long word")


def set_action(harness: GeneratorHarness, canary: str, action: str) -> None:
    digest = sha256(canary.encode())
    screened(harness, {"hold_tokens": 48, "canary": action, "canaries": [digest]})


@pytest.fixture(scope="module", params=["mask", "cut", "flag", "record", "block"])
def action(request: pytest.FixtureRequest, harness: GeneratorHarness, answer: Answer) -> str:
    set_action(harness, answer.canary, request.param)
    return str(request.param)


@pytest.mark.parametrize("way", _WAYS)
def test_each_action_is_in_what_leaves_the_entry_and_the_receipt(
    harness: GeneratorHarness,
    way: Callable[[GeneratorHarness, int], Seen],
    action: str,
    answer: Answer,
) -> None:
    start = harness.gateway.recorder.size
    seen, entry = way(harness, answer.seed), harness.entries(start)[-1]
    before = answer.text[: answer.text.index(answer.canary)]
    if action == "block":
        assert (seen.text, seen.finish) == ("", Reason.ANSWER_WITHHELD.name)
        assert (entry["outcome"], entry["actions"]) == (Reason.ANSWER_WITHHELD.name, "blocked")
        return
    told = {"mask": "masked", "cut": "blocked", "flag": "", "record": "recorded"}
    assert (entry["outcome"], entry["actions"]) == ("answered", told[action])
    assert (entry["verdict"] == "suspect") is (action != "record")
    if action == "cut":
        assert (seen.text, seen.finish) == (before, "content_filter")
    elif action == "mask":
        assert seen.text.startswith(f"{before}[canary]")
        assert answer.canary not in seen.text
    else:
        assert seen.text == answer.text
    policy = harness.governance("client").policy()
    proven = verify_receipt(Receipt.decode(seen.receipt.encode()), policy).fields
    assert {name: proven[name] for name in ("actions", "verdict")} == {
        name: entry[name] for name in ("actions", "verdict")
    }
