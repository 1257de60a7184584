"""A classifier of texts that guards a language model, by the policy: a version beside a version."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from tests.support.builders.generated import asked, stream, text_of
from tests.support.builders.models import text_models
from tests.support.builders.models.text_models import TELLING
from tests.support.fakes.blocking_worker import until
from tests.support.harness.generator import OUTPUT_TOKENS, GeneratorHarness, generating
from tests.support.harness.policy_changes import change

pytestmark = pytest.mark.slow

OFFER = " ".join(TELLING[1][:6])
WORK = " ".join(TELLING[0][:6])
GUARD = {"label": "offer", "action": "block"}


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[GeneratorHarness]:
    with generating(tmp_path_factory.mktemp("state"), folder) as harness:
        text_models.publish(harness)
        yield harness


def guarded(harness: GeneratorHarness, **said: Any) -> None:
    """Has the policy name the classifier that is in production, or what is `said`."""
    version = harness.gateway.engine.live()["letters", "production"].digest
    screen = {"verdicts": {"adversarial": "flag"}, "guard": {"version": version, **GUARD, **said}}
    change(harness, lambda policy: policy.update(screens={"tiny": screen}))


def ask(harness: GeneratorHarness, text: str) -> oip.ModelStreamInferResponse:
    return stream(harness, asked(text, max_tokens=2))[-1]


def test_what_the_guard_finds_is_refused_and_recorded(harness: GeneratorHarness) -> None:
    guarded(harness)
    assert not ask(harness, WORK).error_message
    start = harness.gateway.recorder.size
    assert ask(harness, OFFER).error_message.startswith(Reason.PROMPT_INJECTION.name)
    (entry,) = harness.entries(start)
    assert entry["outcome"] == Reason.PROMPT_INJECTION.name
    assert entry["verdict"] in ("suspect", "adversarial")
    assert entry["policy_digest"] == harness.gateway.engine.policy_in_force().digest


def test_what_a_tool_has_fetched_has_a_margin_of_its_own(harness: GeneratorHarness) -> None:
    version = harness.gateway.engine.live()["letters", "production"].digest
    guarded(harness, roles={"tool": {"version": version, **GUARD, "margin": 100_000}})

    def said(role: str) -> str:
        chat = [{"role": "user", "content": WORK}, {"role": role, "content": OFFER}]
        request = asked(json.dumps(chat), name="messages", max_tokens=2)
        told: str = stream(harness, request)[-1].error_message
        return told

    assert not said("tool")
    for role in ("user", "document"):
        assert said(role).startswith(Reason.PROMPT_INJECTION.name)


def test_it_is_found_behind_much_that_is_clean(harness: GeneratorHarness) -> None:
    guarded(harness)
    # More than the thirty tokens that the classifier reads at once.
    assert not ask(harness, "meet ba ba " * 12).error_message
    found = ask(harness, "meet ba ba " * 9 + OFFER).error_message
    assert found.startswith(Reason.PROMPT_INJECTION.name)


def test_a_guard_that_only_flags_lets_it_pass_as_suspect(harness: GeneratorHarness) -> None:
    guarded(harness, action="flag")
    start = harness.gateway.recorder.size
    assert not ask(harness, OFFER).error_message
    assert {entry["verdict"] for entry in harness.entries(start)} <= {"suspect", "adversarial"}


def test_a_guard_that_only_records_tells_the_entry(harness: GeneratorHarness) -> None:
    guarded(harness, action="record")
    start = harness.gateway.recorder.size
    assert not ask(harness, OFFER).error_message
    assert {entry["actions"] for entry in harness.entries(start)} == {"recorded"}
    start = harness.gateway.recorder.size
    assert not ask(harness, WORK).error_message
    assert {entry["actions"] for entry in harness.entries(start)} == {""}


@pytest.mark.parametrize(
    "said", [{"version": "sha256:" + "0" * 64}, {"label": "nonsense"}], ids=["version", "label"]
)
def test_without_its_guard_nothing_is_answered(harness: GeneratorHarness, said: Any) -> None:
    guarded(harness, **said)
    assert ask(harness, WORK).error_message.startswith(Reason.VERSION_NOT_LIVE.name)


def classified(harness: GeneratorHarness, **said: str) -> None:
    """Has the policy name the classifier that is in production as one of answers."""
    version = harness.gateway.engine.live()["letters", "production"].digest
    classifier = {"version": version, "label": "work", "action": "flag", **said}
    answers = {"hold_tokens": 4, "classifier": classifier}
    screen = {"verdicts": {"adversarial": "flag"}, "answers": answers}
    change(harness, lambda policy: policy.update(screens={"tiny": screen}))


def long(harness: GeneratorHarness) -> list[oip.ModelStreamInferResponse]:
    return stream(harness, asked(WORK, max_tokens=OUTPUT_TOKENS, receipt=True))


def test_an_answer_ends_where_a_classifier_finds_its_class(harness: GeneratorHarness) -> None:
    """The model says what it says; of two classes the classifier finds one."""
    classified(harness, action="record")
    whole = [text_of(part.infer_response) for part in long(harness)]
    ended: set[str] = set()
    for label in ("work", "offer"):
        classified(harness, label=label, action="cut")
        start = harness.gateway.recorder.size
        parts = [part.infer_response for part in long(harness)]
        entry = harness.entries(start)[-1]
        assert "".join(whole).startswith("".join(map(text_of, parts)))
        finish = parts[-1].parameters["finish_reason"].string_param
        assert (finish == "content_filter") is (entry["actions"] == "blocked")
        assert entry["outcome"] == "answered"
        if finish == "content_filter":
            ended.add(label)
            assert entry["verdict"] in ("suspect", "adversarial")
            classified(harness, label=label, action="block")
            assert long(harness)[-1].error_message.startswith(Reason.ANSWER_WITHHELD.name)
    assert ended


@pytest.mark.parametrize("said", [{"version": "sha256:" + "0" * 64}, {"label": "nonsense"}])
def test_without_its_classifier_of_answers_nothing_leaves(
    harness: GeneratorHarness, said: dict[str, str]
) -> None:
    classified(harness, **said)
    (only,) = long(harness)
    assert only.error_message.startswith(Reason.VERSION_NOT_LIVE.name)


def test_a_revoked_guard_guards_no_more(harness: GeneratorHarness) -> None:
    guarded(harness)
    harness.governance("admin").revoke("letters", 1, "test")
    until(lambda: ask(harness, WORK).error_message != "")
    reason = ask(harness, WORK).error_message.partition(":")[0]
    assert reason in (Reason.VERSION_NOT_LIVE.name, Reason.VERSION_REVOKED.name)
