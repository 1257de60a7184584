"""`sealgate health` against a real gateway: well, wrong, not there, and what it may return."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from inference.engine.ready_version import ReadyVersion
from inference.engine.version_contents import GOLDEN, INT8, MODEL
from sealgate.health import golden_check
from sealgate.reasons import Reason
from sealgate.signed_version import SignedVersion, policy_history
from sealgate.trust.times import format_time
from sealgate.v1.credential_pb2 import CreateApiKeyRequest
from sealgate.v1.credential_pb2_grpc import CredentialServiceStub
from sealgate.v1.registry_pb2 import DownloadFileRequest, GetVersionRequest
from tests.support.harness.gateway import GatewayHarness, refusal
from tests.support.harness.policy_changes import change
from tests.support.harness.rollouts import GUARD, with_guard
from tests.support.oracles.programs import program, run

VERSION = "models/digits/versions/1"
# By how much every answer of the versions with these digests is off.
OFF: dict[str, float] = {}
ALL_RIGHT = {"golden", "serving", "freshness", "policy", "certificate"}


@pytest.fixture(scope="module", autouse=True)
def runtime_that_errs() -> Iterator[None]:
    submit_all = ReadyVersion.submit_all

    def errs(self: ReadyVersion, requests: Any) -> Any:
        off = OFF.get(self.digest, 0.0)
        return [
            answer._replace(outputs={n: data + off for n, data in answer.outputs.items()})
            for answer in submit_all(self, requests)
        ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReadyVersion, "submit_all", errs)
        patch.setattr(golden_check, "PAUSE_SECONDS", 0.01)
        yield


@pytest.fixture(autouse=True)
def nothing_errs() -> Iterator[None]:
    OFF.clear()
    yield
    OFF.clear()


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    harness = GatewayHarness(
        tmp_path_factory.mktemp("health") / "state", "digits-standard", "digits-hardened"
    )
    harness.start()
    try:
        harness.promote("digits", 1)
        yield harness
    finally:
        harness.stop()


def told(result: Result) -> dict[str, dict[str, Any]]:
    """Return the findings by check and subject."""
    document = json.loads(result.output)
    assert document["status"] == result.exit_code
    return {f"{each['check']} {each['subject']}": each for each in document["findings"]}


def health(
    harness: GatewayHarness, *words: str, person: str | None = None
) -> tuple[int, dict[str, Any]]:
    result = harness.command("health", "--json", *words, person=person)
    return result.exit_code, told(result)


def digest(harness: GatewayHarness) -> str:
    return str(harness.gateway.engine.live()["digits", "production"].digest)


def test_all_is_well(harness: GatewayHarness, tmp_path: Path) -> None:
    path = tmp_path / "sealgate.prom"
    status, found = health(harness, "--textfile", str(path))
    assert (status, {name.partition(" ")[0] for name in found}) == (0, ALL_RIGHT), found
    numbers = found["golden digits/production"]["numbers"]
    assert numbers["same"] + numbers["withheld"] == 8
    assert numbers["same"] > numbers["different"] == 0
    assert found["serving digits"]["detail"] == "SERVING"
    checked = run([program("promtool"), "check", "metrics"], path.read_text())
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    table = harness.command("health")
    assert table.exit_code == 0
    assert "golden answers came out" in table.output


def test_an_answer_that_is_off_is_wrong(harness: GatewayHarness, tmp_path: Path) -> None:
    OFF[digest(harness)] = 1e-3
    path = tmp_path / "sealgate.prom"
    status, found = health(harness, "digits", "--rows", "3", "--textfile", str(path))
    assert status == 1
    assert found["golden digits/production"]["state"] == "wrong"
    assert "golden answers differ, by up to 0.001" in found["golden digits/production"]["detail"]
    assert "sealgate_health_status 1" in path.read_text()
    assert health(harness, "--tolerance", "0.01")[0] == 0


def test_a_version_that_fails_is_wrong(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReadyVersion, "submit_all", lambda *_, **__: 1 / 0)
    status, found = health(harness)
    assert status == 1
    assert found["golden digits/production"]["detail"].startswith(Reason.INTERNAL.name)


def test_certificates_that_end_soon_are_wrong(harness: GatewayHarness) -> None:
    status, found = health(harness, "--days", "400")
    assert status == 1
    wrong = {name for name, each in found.items() if each["state"] == "wrong"}
    assert wrong == {"certificate gateway", "certificate own", "policy policy"}


def test_what_is_not_there_is_wrong_only_where_it_is_named(harness: GatewayHarness) -> None:
    status, found = health(harness, "digits/canary")
    assert status == 1
    assert found["golden digits/canary"]["detail"].startswith(Reason.ALIAS_UNKNOWN.name)
    assert "golden digits/canary" not in health(harness)[1]


def test_who_is_no_monitor_cannot_ask(harness: GatewayHarness) -> None:
    status, found = health(harness, "digits", person="client")
    assert status == 2
    assert found["golden digits/production"]["detail"].startswith(Reason.ROLE_TOO_LOW.name)


def test_a_monitor_gets_golden_files_and_no_other(harness: GatewayHarness) -> None:
    registry = harness.registry("monitor")
    profile = harness.profile("monitor")
    policies = policy_history(registry, profile.pinned_roots(), profile.root_threshold)
    signed = SignedVersion.fetch(registry, policies, "digits", 1)
    assert {entry.path for entry in signed.manifest.files} > {MODEL, GOLDEN}
    for entry in signed.manifest.files:
        if entry.path in (MODEL, GOLDEN):
            assert len(signed.file(registry, entry.path)) == entry.size
        else:
            assert refusal(lambda e=entry: signed.file(registry, e.path)) is Reason.ROLE_TOO_LOW
    request = GetVersionRequest(name=VERSION)
    assert not registry.GetVersion(request).version.evidence
    # To who reads all, both are given.
    staff = harness.registry("auditor")
    assert staff.GetVersion(request).version.evidence
    assert list(staff.DownloadFile(DownloadFileRequest(name=VERSION, path=INT8)))


def test_nobody_there_is_not_asked(tmp_path: Path) -> None:
    harness = GatewayHarness(tmp_path / "state")
    path = tmp_path / "sealgate.prom"
    status, found = health(harness, "--timeout", "2", "--textfile", str(path))
    assert status == 2
    assert {each["state"] for each in found.values()} == {"not asked"}
    assert "sealgate_health_status 2" in path.read_text()


def service(harness: GatewayHarness) -> Path:
    """The profile of the service that rolls back: with an API key, and a key of its own."""
    expires = format_time(datetime.now(UTC) + timedelta(hours=1))
    request = CreateApiKeyRequest(holder=GUARD, label="health", expire_time=expires)
    made = CredentialServiceStub(harness.channel("admin")).CreateApiKey(request)
    home = harness.state / "people" / GUARD
    home.mkdir()
    (home / "token").write_text(made.secret)
    client = (harness.state / "people" / "client" / "profile.toml").read_text().splitlines()
    kept = [line for line in client if not line.startswith(("name", "token", "witness"))]
    own = [f'name = "{GUARD}"', 'token = "token"', 'signing_key = "../../keys/rollback.key"']
    path = home / "profile.toml"
    path.write_text("\n".join([*own, *kept, ""]))
    return path


def test_what_the_policy_lets_be_returned_is(harness: GatewayHarness) -> None:
    with_guard(harness, production={"error_percent": 90})
    profile = str(service(harness))
    harness.promote("digits", 2)
    OFF[digest(harness)] = 1.0
    # The policy does not say that golden answers return it.
    status, found = health(harness, "digits", "--rollback-as", profile)
    assert (status, found["rollback digits/production"]["state"]) == (1, "not asked")
    assert harness.gateway.engine.live()["digits", "production"].version == 2
    limits = {"window_seconds": 60, "minimum_requests": 1, "golden_failures": 2}
    change(harness, lambda document: document["health"]["digits"].update(production=limits))
    # Nor may a monitor do it.
    status, found = health(harness, "digits", "--rollback-as", "monitor")
    assert found["rollback digits/production"]["state"] != "well"
    assert harness.gateway.engine.live()["digits", "production"].version == 2
    status, found = health(harness, "digits", "--rollback-as", profile)
    assert status == 1
    assert found["rollback digits/production"]["detail"] == "back at version 1"
    harness.await_version("digits", 1)
    newest = next(harness.governance("auditor").moves("digits", "production"))
    assert (newest.action, newest.admin) == ("rollback", GUARD)
    assert newest.reason.startswith("automatic: ")
    harness.gateway.store.registry.verify()
    # Once after each promotion, whatever the version before answers.
    OFF[digest(harness)] = 1.0
    _, found = health(harness, "digits", "--rollback-as", profile)
    assert found["rollback digits/production"]["detail"].startswith(Reason.ROLLBACK_TARGET.name)
    OFF.clear()
    assert health(harness, "digits", "--rollback-as", profile)[0] == 0


def test_rights_limit_it_to_what_they_name(harness: GatewayHarness) -> None:
    own = {"principals": ["monitor"], "roles": [], "models": ["digits"], "aliases": ["*"]}
    staff = {"principals": ["admin"], "roles": [], "models": ["*"], "aliases": ["*"]}
    own["actions"], staff["actions"] = ["read", "infer", "metadata"], ["read", "revoke"]
    change(harness, lambda document: document.update(rights=[own, staff]))
    status, found = health(harness)
    assert status == 2
    assert found["golden all models"]["detail"].startswith(Reason.RIGHT_MISSING.name)
    assert health(harness, "digits")[0] == 0
