"""A policy that comes into force while a model runs decides alone about the answer."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inference.screening.detector import Verdict
from sealgate.reasons import Reason
from sealgate.trust.policy import Policy
from sealgate.trust.receipts.answer_entry import FIELDS
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows, running
from tests.support.harness.policy_changes import Document, change, person

FLAGGED = {"verdicts": {"adversarial": "flag"}}
_ALL = {"aliases": ["*"], "principals": []}
OTHERS = {"roles": ["client"], "actions": ["infer"], "models": ["other"], **_ALL}


@pytest.fixture(params=["auto", "grpcio"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GatewayHarness]:
    with running(tmp_path / "state", "digits-standard", transport=request.param) as harness:
        harness.promote("digits", 1)
        yield harness


def in_force(harness: GatewayHarness) -> Policy:
    return harness.gateway.engine.policy_in_force()


def entry(harness: GatewayHarness) -> dict[str, str]:
    """Return the newest entry's fields."""
    recorder = harness.gateway.recorder
    opened = recorder.open(recorder.size - 1).opened
    return {field: opened[field][1] for field in FIELDS}


def once(work: Callable[..., Any], before: Callable[[], object]) -> Callable[..., Any]:
    """The same work, but that something else comes before the end of its first run."""
    runs: list[int] = []

    def worked(*given: Any, **named: Any) -> Any:
        found = work(*given, **named)
        if not runs:
            runs.append(1)
            before()
        return found

    return worked


def without_client(policy: Document) -> None:
    policy["principals"].remove(person(policy, "client"))


def without_role(policy: Document) -> None:
    person(policy, "client")["roles"] = ["auditor"]


def without_right(policy: Document) -> None:
    policy["rights"] = [OTHERS]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (without_client, Reason.PRINCIPAL_UNKNOWN),
        (without_role, Reason.ROLE_TOO_LOW),
        (without_right, Reason.RIGHT_MISSING),
    ],
)
def test_a_caller_whom_it_does_not_let_ask_gets_no_answer(
    harness: GatewayHarness,
    monkeypatch: pytest.MonkeyPatch,
    edit: Callable[[Document], None],
    reason: Reason,
) -> None:
    client = harness.inference()
    client.ModelInfer(question("digits", rows()), timeout=60)
    engine = harness.gateway.engine
    run = once(engine.infer_all, lambda: change(harness, edit))
    monkeypatch.setattr(engine, "infer_all", run)
    assert refusal(client.ModelInfer, question("digits", rows()), timeout=60) is reason
    recorded = entry(harness)
    assert recorded["outcome"] == reason.name
    assert recorded["policy_digest"] == in_force(harness).digest


def test_a_refusal_for_a_verdict_names_it(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not the one by which the version was looked up, which would let the answer leave."""
    screens = {"digits": {"verdicts": {"adversarial": "block"}}}
    engine = harness.gateway.engine

    def found(live: Any, requests: Any) -> Any:
        ran = infer_all(live, requests)
        return [each._replace(verdict=Verdict.ADVERSARIAL) for each in ran]

    infer_all = engine.infer_all
    change(harness, lambda policy: policy.update(screens={"digits": FLAGGED}))
    run = once(found, lambda: change(harness, lambda policy: policy.update(screens=screens)))
    monkeypatch.setattr(engine, "infer_all", run)
    refused = refusal(harness.inference().ModelInfer, question("digits", rows()), timeout=60)
    assert refused is Reason.ADVERSARIAL_INPUT
    assert entry(harness)["policy_digest"] == in_force(harness).digest


def test_sessions_that_it_begins_to_watch_fail_no_call(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A policy without sessions needs no fingerprints, which the next one would look for."""
    sessions = {"search": "block", "extraction": "alert", "seconds": 3600}
    watch = harness.gateway.sessions
    section = {"digits": {"sessions": sessions}}
    run = once(watch.prints, lambda: change(harness, lambda p: p.update(screens=section)))
    monkeypatch.setattr(watch, "prints", run)
    client = harness.inference()
    for _ in range(2):
        client.ModelInfer(question("digits", rows()), timeout=60)
    assert in_force(harness).screen("digits").sessions is not None
