"""A version that passes the policy's limits is rolled back by a service, and by nobody else."""

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from gateway.app import build
from gateway.config.document import GatewayConfig
from gateway.rollout.rollout import AutoRollback
from inference.engine.ready_version import ReadyVersion
from sealgate.private_keys import open_signer
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from sealgate.trust.statements import Pointer, PointerBundle
from tests.support.harness.gateway import GatewayHarness, question, rows
from tests.support.harness.rollouts import GUARD, await_true, share, with_guard

ERRORS = {"error_percent": 20}
FAILING: set[str] = set()


@pytest.fixture(scope="module", autouse=True)
def failing_runtime() -> Iterator[None]:
    """The runtime fails every request of the versions whose digests are in FAILING."""
    submit, submit_all = ReadyVersion.submit, ReadyVersion.submit_all

    def fails(self: ReadyVersion, *arguments: object, **options: object) -> object:
        if self.digest in FAILING:
            raise SealgateError(Reason.INTERNAL, "the runtime failed")
        return submit(self, *arguments, **options)

    def fails_all(self: ReadyVersion, requests: Sequence[Any]) -> Any:
        if self.digest in FAILING:
            return [SealgateError(Reason.INTERNAL, "the runtime failed") for _ in requests]
        return submit_all(self, requests)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReadyVersion, "submit", fails)
        patch.setattr(ReadyVersion, "submit_all", fails_all)
        yield


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    harness = GatewayHarness(
        tmp_path_factory.mktemp("rollback") / "state", "digits-standard", "digits-hardened"
    )
    harness.start()
    try:
        harness.promote("digits", 1)
        with_guard(harness, production=ERRORS, canary=ERRORS | {"disagreement_percent": 0})
        yield harness
    finally:
        harness.stop()


@pytest.fixture(autouse=True)
def nothing_fails() -> Iterator[None]:
    FAILING.clear()
    yield
    FAILING.clear()


def digest(harness: GatewayHarness, alias: str = "production") -> str:
    return str(harness.gateway.engine.live()["digits", alias].digest)


def ask(harness: GatewayHarness, times: int = 1) -> list[str]:
    """The versions that answered; `failed` for what the version failed."""
    stub = harness.inference()
    found = []
    for number in range(times):
        request = question("digits", rows(count=20)[number % 20 : number % 20 + 1])
        try:
            found.append(stub.ModelInfer(request, timeout=60).model_version)
        except grpc.RpcError:
            found.append("failed")
    return found


def moves(harness: GatewayHarness, alias: str = "production") -> list[Pointer]:
    found = harness.governance("auditor").moves("digits", alias)
    return [Pointer.decode(PointerBundle.decode(m.bundle).pointer.payload) for m in found]


def test_a_version_that_fails_goes_back_once(
    harness: GatewayHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.promote("digits", 2)
    assert ask(harness, 3) == ["2"] * 3
    bad = digest(harness)
    FAILING.add(bad)
    # The guard may look before all have failed.
    assert ask(harness, 5)[0] == "failed"
    harness.await_version("digits", 1)
    back = moves(harness)[0]
    assert (back.action, back.version, back.admin) == ("rollback", 1, GUARD)
    assert back.reason.startswith("automatic: errors: ")
    assert back.reason.endswith(" requests in 600 s, limit 20 %")
    harness.gateway.store.registry.verify()
    # The version before fails too; who returned would return to what failed first.
    FAILING.add(digest(harness))
    assert ask(harness, 10) == ["failed"] * 10
    place = ("digits", "production")
    await_true(lambda: harness.gateway.rollout.auto_rollback.done.get(place) is not None)
    await_true(lambda: "is not rolled back" in caplog.text)
    assert moves(harness)[0] == back
    # Until a person promotes.
    FAILING.clear()
    harness.promote("digits", 2)
    FAILING.add(bad)
    ask(harness, 6)
    harness.await_version("digits", 1)
    assert [move.action for move in moves(harness)[:2]] == ["rollback", "promote"]


def test_a_canary_that_can_return_to_nothing_gets_no_share(harness: GatewayHarness) -> None:
    canary = share(harness, 2, 100)
    FAILING.add(canary.digest)
    assert ask(harness, 6).count("failed") >= 5
    guard = harness.gateway.rollout.auto_rollback
    await_true(lambda: canary.pointer in guard.held)
    assert ask(harness, 3) == ["1"] * 3
    # With another share it is another promotion, which people have approved.
    FAILING.clear()
    share(harness, 2, 99)
    assert "2" in ask(harness, 20)


def test_without_a_key_it_is_only_said(
    harness: GatewayHarness, caplog: pytest.LogCaptureFixture
) -> None:
    rollout = harness.gateway.rollout
    pointers = harness.gateway.store.registry.pointers
    live = harness.gateway.engine.live()["digits", "production"]
    alias_health = SimpleNamespace(breaches=lambda: [breach(harness, live)])
    guard = AutoRollback(
        alias_health,
        pointers,
        harness.gateway.engine.policy_in_force,
        rollout.auto_rollback.clock,
        None,
    )
    before = moves(harness)
    with caplog.at_level(logging.ERROR):
        guard.look()
        guard.look()
    assert caplog.text.count("passes a limit of the policy") == 1
    assert moves(harness) == before


def breach(harness: GatewayHarness, live: Any) -> SimpleNamespace:
    limits = harness.gateway.engine.policy_in_force().health.limits("digits", "production")
    return SimpleNamespace(
        model="digits",
        alias="production",
        pointer=live.pointer,
        sequence=live.sequence,
        limits=limits,
        finding="errors: 50.0 % of 10 requests in 600 s, limit 20 %",
    )


class Late:
    """The registry's pointers, as a gateway saw them before another one moved the alias."""

    def __init__(self, pointers: Any) -> None:
        self._pointers = pointers
        self._seen = (
            pointers.get("digits", "production"),
            pointers.previous("digits", "production"),
        )

    def get(self, model: str, alias: str) -> object:
        return self._seen[0]

    def previous(self, model: str, alias: str) -> object:
        return self._seen[1]

    def rollback(self, *arguments: object) -> object:
        return self._pointers.rollback(*arguments)


def test_of_two_that_see_the_same_one_moves(
    harness: GatewayHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.promote("digits", 2)
    registry = harness.gateway.store.registry
    live = harness.gateway.engine.live()["digits", "production"]
    alias_health = SimpleNamespace(breaches=lambda: [breach(harness, live)])
    signer = open_signer(harness.state / "keys" / "rollback.key")

    def clock() -> datetime:
        return datetime.now(UTC)

    late, sees = (
        AutoRollback(alias_health, pointers, harness.gateway.engine.policy_in_force, clock, signer)
        for pointers in (Late(registry.pointers), registry.pointers)
    )
    late_too = AutoRollback(
        alias_health, registry.pointers, harness.gateway.engine.policy_in_force, clock, signer
    )
    sees.look()
    harness.await_version("digits", 1)
    before = moves(harness)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        late.look()
        late_too.look()
    assert caplog.text.count("was moved by another") == 2
    assert "is not rolled back" not in caplog.text
    assert moves(harness) == before


def test_a_registry_that_is_away_is_tried_again_later(harness: GatewayHarness) -> None:
    tries = []

    def away(*arguments: object) -> None:
        tries.append(arguments)
        raise SealgateError(Reason.REGISTRY_UNAVAILABLE)

    live = harness.gateway.engine.live()["digits", "production"]
    alias_health = SimpleNamespace(breaches=lambda: [breach(harness, live)])
    signer = open_signer(harness.state / "keys" / "rollback.key")
    guard = AutoRollback(
        alias_health,
        SimpleNamespace(get=away),
        harness.gateway.engine.policy_in_force,
        datetime.now,
        signer,
    )
    guard.look()
    guard.look()
    assert len(tries) == 1
    guard.rests_until.clear()
    guard.look()
    assert len(tries) == 2


def test_the_key_must_be_of_a_service_that_may_nothing_else(tmp_path: Path) -> None:
    harness = GatewayHarness(tmp_path / "state")
    with (harness.state / "gateway.toml").open("a") as settings:
        settings.write('\n[rollback]\nkey = "people/admin/signing.key"\n')
    with pytest.raises(ConfigError, match="only role is rollback"):
        build(GatewayConfig.read(harness.state / "gateway.toml"))
