"""A share of production's requests is canary's to answer, and shadow is asked without a word."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gateway.rollout.alias_health import AliasHealth
from gateway.rollout.comparisons import ShadowComparison, ShadowComparisons
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import read_outputs
from sealgate.trust.policy.shares import in_share
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.receipts.answer_entry import FIELDS
from tests.support.fakes.whole_calls import FakeWholeCall
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows, running
from tests.support.harness.policy_changes import accept
from tests.support.harness.rollouts import await_true, share


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    with running(
        tmp_path_factory.mktemp("shares") / "state", "digits-standard", "digits-hardened"
    ) as harness:
        harness.promote("digits", 1)
        yield harness


def asking(row: int) -> oip.ModelInferRequest:
    return question("digits", rows(count=20)[row : row + 1], receipt=True)


def burst_call(harness: GatewayHarness, row: int) -> FakeWholeCall:
    return FakeWholeCall.by(harness.profile("client"), asking(row))


def ask(harness: GatewayHarness, row: int, **parameters: str) -> oip.ModelInferResponse:
    request = asking(row)
    for name, value in parameters.items():
        request.parameters[name].string_param = value
    return harness.inference().ModelInfer(request, timeout=60)


def fields(harness: GatewayHarness, answer: oip.ModelInferResponse) -> dict[str, str]:
    receipt = Receipt.decode(answer.parameters["receipt"].string_param.encode())
    return dict(verify_receipt(receipt, harness.governance("client").policy()).fields)


def test_canary_answers_its_share_and_the_receipt_says_so(harness: GatewayHarness) -> None:
    canary = share(harness, 2, 50)
    production = harness.gateway.engine.live()["digits", "production"]
    versions = set()
    for row in range(20):
        answer = ask(harness, row)
        told = fields(harness, answer)
        drawn = in_share(50, canary.digest, "canary", "digits", "client", told["input"])
        live = canary if drawn else production
        assert (answer.model_version, told["version"]) == (str(live.version),) * 2
        # It was production that was asked.
        assert (told["alias"], told["actions"]) == ("production", "canary" if drawn else "")
        assert told["version_digest"] == live.digest
        assert told["pointer_sequence"] == str(live.sequence)
        assert ask(harness, row).model_version == answer.model_version
        versions.add(answer.model_version)
    assert versions == {"1", "2"}


def test_canary_has_its_share_of_a_burst(harness: GatewayHarness) -> None:
    canary = share(harness, 2, 50)
    calls = [burst_call(harness, row) for row in range(20)]
    harness.gateway.bursts(calls)
    versions = set()
    for call in calls:
        assert call.reason is None
        assert call.answered is not None
        told = fields(harness, call.answered)
        drawn = in_share(50, canary.digest, "canary", "digits", "client", told["input"])
        assert call.answered.model_version == told["version"] == ("2" if drawn else "1")
        assert told["actions"] == ("canary" if drawn else "")
        versions.add(told["version"])
    assert versions == {"1", "2"}


def test_a_session_stays_where_it_is(harness: GatewayHarness) -> None:
    canary = share(harness, 2, 50)
    drawn = {
        session: in_share(50, canary.digest, "canary", "digits", "client", session)
        for session in map(str, range(200))
    }
    # A version's digest is never the same twice, and so is not who gets it.
    some = [next(s for s in drawn if drawn[s] is inside) for inside in (True, False)]
    for session in (*some, *map(str, range(6))):
        inside = drawn[session]
        versions = {ask(harness, row, session=session).model_version for row in range(4)}
        assert versions == {"2" if inside else "1"}


def test_who_names_an_alias_or_a_version_gets_it(harness: GatewayHarness) -> None:
    share(harness, 2, 100)
    assert ask(harness, 0).model_version == "2"
    assert ask(harness, 0, alias="production").model_version == "1"
    named = fields(harness, ask(harness, 0, alias="canary"))
    assert (named["alias"], named["version"], named["actions"]) == ("canary", "2", "")
    assert ask(harness, 0, alias="production", session="a").model_version == "1"
    request = question("digits", rows())
    request.model_version = "1"
    assert harness.inference().ModelInfer(request, timeout=60).model_version == "1"


@pytest.mark.parametrize("session", ["", "a b", "x" * 129, "ü"])
def test_a_session_in_another_form_is_refused(harness: GatewayHarness, session: str) -> None:
    request = question("digits", rows())
    request.parameters["session"].string_param = session
    assert refusal(harness.inference().ModelInfer, request) is Reason.PARAMETER_MALFORMED


def test_a_right_to_production_covers_what_canary_answers_of_it(harness: GatewayHarness) -> None:
    share(harness, 2, 100)
    right = {"principals": [], "roles": ["client"], "actions": ["infer"], "models": ["digits"]}
    staff = {"roles": ["admin", "publisher", "approver"], "actions": ["propose", "approve"]}
    staff |= {"principals": [], "models": ["*"], "aliases": ["*"]}
    staff["actions"] += ["promote", "read", "revoke"]
    accept(harness, rights=[right | {"aliases": ["production"]}, staff])
    try:
        assert ask(harness, 0).model_version == "2"
        request = question("digits", rows())
        request.parameters["alias"].string_param = "canary"
        assert refusal(harness.inference().ModelInfer, request) is Reason.RIGHT_MISSING
    finally:
        accept(harness, rights=[right | {"aliases": ["*"]}, staff])


def test_shadow_is_asked_compared_and_recorded_but_not_returned(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long it takes, none is left out.
    monkeypatch.setattr("gateway.rollout.comparisons.RUN_SECONDS", 60.0)
    share(harness, 2, 0)
    shadow = share(harness, 2, 100, "shadow")
    recorder = harness.gateway.recorder
    before = recorder.size
    answers = [ask(harness, row) for row in range(5)]
    assert {answer.model_version for answer in answers} == {"1"}
    await_true(lambda: recorder.size == before + 10)
    policy = harness.governance("auditor").policy()
    entries = [
        dict(verify_receipt(recorder.open(index), policy).fields)
        for index in range(before, before + 10)
    ]
    asked = [entry for entry in entries if entry["version"] == "2"]
    assert {entry["outcome"] for entry in entries if entry["version"] == "1"} == {"answered"}
    assert len(asked) == 5
    for entry in asked:
        assert entry["outcome"] in ("agreed", "differed")
        assert entry["version_digest"] == shadow.digest
        assert (entry["principal"], entry["verdict"] != "") == ("client", True)
        assert set(entry) == set(FIELDS)
        (same,) = (e for e in entries if e["version"] == "1" and e["input"] == entry["input"])
        assert same["output"] != entry["output"]
        assert (same["alias"], entry["alias"]) == ("production", "shadow")
        assert entry["parameters"] == same["parameters"]
        assert (entry["screening"], entry["arithmetic"]) == ("full", "int8")
        assert entry["actions"] == ""
    (logits,) = read_outputs(answers[0]).values()
    assert logits.data.shape == (1, 10)


def test_shadow_is_asked_of_each_call_of_a_burst(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.rollout.comparisons.RUN_SECONDS", 60.0)
    share(harness, 2, 0)
    share(harness, 2, 100, "shadow")
    recorder = harness.gateway.recorder
    before = recorder.size
    calls = [burst_call(harness, row) for row in range(5)]
    harness.gateway.bursts(calls)
    for call in calls:
        assert call.reason is None
        assert call.answered is not None
        assert call.answered.model_version == "1"
    await_true(lambda: recorder.size == before + 10)
    policy = harness.governance("auditor").policy()
    entries = [
        verify_receipt(recorder.open(at), policy).fields for at in range(before, before + 10)
    ]
    inputs = [{e["input"] for e in entries if e["version"] == version} for version in "12"]
    assert inputs[0] == inputs[1]
    assert len(inputs[0]) == 5


def test_what_waits_is_compared_before_the_end() -> None:
    begun, release, asked = threading.Event(), threading.Event(), []
    comparisons = ShadowComparisons(
        SimpleNamespace(), None, AliasHealth(lambda model, alias: None), lambda: datetime.now(UTC)
    )

    def ask(comparison: ShadowComparison) -> None:
        begun.set()
        assert release.wait(60)
        asked.append(comparison)
        raise SealgateError(Reason.DRAINING)

    comparisons.ask = ask
    live = SimpleNamespace(model="digits", alias="shadow")
    comparisons.start()
    for _ in range(5):
        comparisons.offer(ShadowComparison(live, live, {}, None, None))
    assert begun.wait(60)
    ending = threading.Thread(target=comparisons.stop)
    ending.start()
    ending.join(0.1)
    assert ending.is_alive()
    release.set()
    ending.join(60)
    assert len(asked) == 5


def test_comparing_delays_nobody_and_drops_what_is_too_much() -> None:
    begun, release = threading.Event(), threading.Event()

    def infer(*arguments: object, **options: object) -> None:
        begun.set()
        release.wait(60)
        raise SealgateError(Reason.DRAINING)

    engine = SimpleNamespace(infer=infer)
    comparisons = ShadowComparisons(
        engine, None, AliasHealth(lambda model, alias: None), lambda: datetime.now(UTC)
    )
    comparisons.ask = lambda comparison: infer()
    live = SimpleNamespace(model="digits", alias="shadow")
    item = ShadowComparison(live, live, {}, None, None)
    comparisons.start()
    comparisons.offer(item)
    assert begun.wait(60)
    began = time.monotonic()
    for _ in range(100):
        comparisons.offer(item)
    assert time.monotonic() - began < 50
    assert comparisons.offered == 101
    assert comparisons.dropped == 68
    release.set()
    comparisons.stop()


def test_a_version_that_is_revoked_gets_no_share(harness: GatewayHarness) -> None:
    share(harness, 2, 100)
    assert ask(harness, 0).model_version == "2"
    harness.governance("admin").revoke("digits", 2, "it leaks")
    await_true(lambda: ("digits", "canary") not in harness.gateway.engine.live())
    assert ask(harness, 0).model_version == "1"
    assert np.isfinite(read_outputs(ask(harness, 1))["logits"].data).all()


def test_the_command_says_what_share_people_approve(
    tmp_path: Path, harness: GatewayHarness
) -> None:
    words = ("model", "propose", "digits", "1", "--alias", "canary", "--share", "10", "--json")
    result = harness.command(*words)
    assert result.exit_code == 0, result.output
    digest = result.output.split('"')[3]
    result = harness.command("model", "approve", digest, "--meaning", "fine", person="approver-1")
    assert "canary gets 10 % of production's requests" in result.output
