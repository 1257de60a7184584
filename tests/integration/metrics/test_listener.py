"""The listener of `[metrics]`: what a real gateway shows of real requests."""

import logging
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificate
from prometheus_client.parser import text_string_to_metric_families

from gateway.observability.families import FAMILIES
from gateway.observability.readiness import Phase
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows
from tests.support.oracles.programs import program, run

DIGITS = {"model": "digits", "version": "1"}
CLEAN = {**DIGITS, "verdict": "clean", "reason": ""}
STRANGE = 'nobody"} 1\nx{y="'


WARNED: list[str] = []


class Noting(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        WARNED.append(record.getMessage())


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    harness = GatewayHarness(tmp_path_factory.mktemp("house") / "state", "digits-standard")
    with (harness.state / "gateway.toml").open("a") as file:
        file.write('\n[metrics]\nlisten = "127.0.0.1:0"\n')
    log, noting = logging.getLogger("gateway.observability.collector"), Noting()
    log.addHandler(noting)
    harness.start()
    log.removeHandler(noting)
    try:
        harness.promote("digits", 1)
        yield harness
    finally:
        harness.stop()


def ask(harness: GatewayHarness, method: str, path: str, accept: str = "") -> tuple[int, str]:
    assert harness.gateway is not None
    connection = HTTPConnection("127.0.0.1", harness.gateway.ports["metrics"], timeout=60)
    connection.request(method, path, headers={"accept": accept})
    response = connection.getresponse()
    found = response.status, response.read().decode()
    connection.close()
    return found


def get(harness: GatewayHarness, path: str, accept: str = "") -> tuple[int, str]:
    return ask(harness, "GET", path, accept)


class Scraped:
    """`/metrics` at a moment, as Prometheus' own parser reads it."""

    def __init__(self, harness: GatewayHarness) -> None:
        status, self.text = get(harness, "/metrics")
        assert status == 200
        self.families = list(text_string_to_metric_families(self.text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The value of the one series, 0 where there is none."""
        found = [each.value for each in self.samples if (each.name, each.labels) == (name, labels)]
        assert len(found) <= 1
        return sum(found)


def test_requests_are_counted_by_how_they_ended(harness: GatewayHarness) -> None:
    before, stub = Scraped(harness), harness.inference()
    for count in (1, 1, 5):
        stub.ModelInfer(question("digits", rows(count=count)), timeout=60)
    wrong = question("digits", rows())
    wrong.inputs[0].name = "y"
    assert refusal(stub.ModelInfer, wrong, timeout=60) is Reason.TENSOR_NAME
    assert refusal(stub.ModelInfer, question("nobody", rows()), timeout=60) is Reason.MODEL_UNKNOWN
    after = Scraped(harness)

    def grown(name: str, **labels: str) -> float:
        return after(name, **labels) - before(name, **labels)

    refused = {**DIGITS, "verdict": "", "reason": "TENSOR_NAME"}
    unknown = {"model": "", "version": "", "verdict": "", "reason": "MODEL_UNKNOWN"}
    for ending, count in ((CLEAN, 3), (refused, 1), (unknown, 1)):
        assert grown("sealgate_requests_total", **ending) == count
        assert 0 < grown("sealgate_request_seconds_total", **ending) < 60
    for name, count in (("queue", 3), ("batch", 3), ("screening", 3), ("inference", 3)):
        assert grown(f"sealgate_{name}_seconds_count", **DIGITS) == count
        assert 0 < grown(f"sealgate_{name}_seconds_sum", **DIGITS) < 60
    assert grown("sealgate_batch_rows_sum", **DIGITS) == 7
    assert grown("sealgate_batch_rows_bucket", **DIGITS, le="1.0") == 2
    assert grown("sealgate_batch_rows_bucket", **DIGITS, le="8.0") == 3
    assert grown("sealgate_log_entries", log="answers") == 5
    assert grown("sealgate_log_commit_seconds_count") == 5


def test_what_stands_is_shown(harness: GatewayHarness) -> None:
    shown, gateway = Scraped(harness), harness.gateway
    assert gateway is not None
    live = gateway.engine.live()["digits", "production"]
    alias = {"model": "digits", "alias": "production"}
    assert shown("sealgate_pointer_sequence", **alias) == live.sequence
    assert shown("sealgate_pointer_version", **alias) == 1
    assert shown("sealgate_pointer_end_timestamp_seconds", **alias) == live.until
    assert shown("sealgate_version_ready", **DIGITS, reason="") == 1
    assert shown("sealgate_policy_version") == gateway.engine.policy_in_force().version
    assert shown("sealgate_log_entries", log="registry") > 0
    assert shown("sealgate_ready") == 1
    for label, file in (("tls", "gateway"), ("client_authority", "callers")):
        pem = (harness.state / "tls" / f"{file}.pem").read_bytes()
        end = load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()
        assert shown("sealgate_certificate_end_timestamp_seconds", certificate=label) == end


def test_what_screening_follows_is_shown(harness: GatewayHarness) -> None:
    gateway, shown = harness.gateway, Scraped(harness)
    assert gateway is not None
    assert shown("sealgate_screening_bound_withdrawn", **DIGITS) == 0
    for kind in ("search", "extraction"):
        labels = {"model": "digits", "kind": kind}
        assert ("sealgate_session_findings_total", labels, 0) in [s[:3] for s in shown.samples]
    gateway.sessions.found["digits", "search"] += 3
    gateway.inference.observation.session_actions["digits", "slow"] += 2
    drifts, origin = gateway.store.registry.drifts, gateway.store.answers.origin
    drifts.withdraw("gateway", origin, "digits", 1, {"requests": 300, "log10_evidence": 3})
    gateway.drift.report()
    after = Scraped(harness)
    assert after("sealgate_screening_bound_withdrawn", **DIGITS) == 1
    assert after("sealgate_session_findings_total", model="digits", kind="search") == 3
    assert after("sealgate_session_actions_total", model="digits", action="slow") == 2


def test_refused_calls_are_counted_under_both_names(harness: GatewayHarness) -> None:
    before = Scraped(harness)
    ask, request = harness.inference("auditor").ModelInfer, oip.ModelInferRequest()
    assert refusal(ask, request, timeout=60) is Reason.ROLE_TOO_LOW
    labels = {"reason": "ROLE_TOO_LOW", "recorded": "yes"}
    after = Scraped(harness)
    # The second is the name of release 0.1, shown until 0.3.
    for name in ("sealgate_call_refusals_total", "sealgate_door_refusals_total"):
        assert after(name, **labels) == before(name, **labels) + 1


def test_a_deprecated_metric_is_named_at_start(harness: GatewayHarness) -> None:
    assert harness.gateway is not None
    (warning,) = WARNED
    assert "sealgate_door_refusals_total is deprecated" in warning
    assert warning.endswith("use sealgate_call_refusals_total")


def test_every_family_is_shown_and_no_other(harness: GatewayHarness) -> None:
    shown = {(each.name, each.type) for each in Scraped(harness).families}
    # The parser calls a counter by its name without `_total`.
    assert shown == {(each.name.removesuffix("_total"), each.kind) for each in FAMILIES}
    labels = {each: set(family.labels) for family in FAMILIES for each in family.series}
    for sample in Scraped(harness).samples:
        assert sample.labels.keys() - {"le"} == labels[sample.name]


def test_nothing_that_a_caller_wrote_becomes_a_label(harness: GatewayHarness) -> None:
    before, stub = Scraped(harness), harness.inference()
    for name in ("made-up-1", "made-up-2", STRANGE):
        refusal(stub.ModelInfer, question(name, rows()), timeout=60)
    asked = question("digits", rows())
    asked.parameters["subject"].string_param = "a-person"
    asked.parameters["session"].string_param = "a-session"
    asked.id = "an-id"
    stub.ModelInfer(asked, timeout=60)
    after = Scraped(harness)
    values = {value for sample in after.samples for value in sample.labels.values()}
    assert values.isdisjoint({"made-up-1", STRANGE, "a-person", "a-session", "an-id", "client"})
    assert "nobody" not in after.text
    added = {(s.name, *sorted(s.labels.items())) for s in after.samples}
    added -= {(s.name, *sorted(s.labels.items())) for s in before.samples}
    assert {dict(labels)["reason"] for _, *labels in added} <= {
        "",
        "MODEL_UNKNOWN",
        "NAME_MALFORMED",
    }


def test_prometheus_own_linter_has_no_complaint(harness: GatewayHarness) -> None:
    checked = run([program("promtool"), "check", "metrics"], get(harness, "/metrics")[1])
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_openmetrics_where_it_is_asked_for(harness: GatewayHarness) -> None:
    status, text = get(harness, "/metrics", "application/openmetrics-text; version=1.0.0")
    assert (status, text.endswith("# EOF\n")) == (200, True)


def test_health_and_readiness(harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = harness.gateway
    assert gateway is not None
    assert get(harness, "/healthz") == (200, "ok\n")
    assert get(harness, "/readyz") == (200, "ready\n")
    readiness = gateway.metrics.readiness
    for phase in (Phase.STARTING, Phase.DRAINING):
        with monkeypatch.context() as patch:
            patch.setattr(readiness, "phase", phase)
            assert get(harness, "/readyz") == (503, f"{phase.value}\n")
            assert Scraped(harness)("sealgate_ready") == 0
    with monkeypatch.context() as patch:
        patch.setattr(type(gateway.engine), "is_over", True)
        assert get(harness, "/readyz") == (503, f"{Reason.POLICY_EXPIRED.name}\n")
    gateway.recorder.fenced.set()
    try:
        assert get(harness, "/readyz") == (503, f"{Reason.LOG_FENCED.name}\n")
        assert get(harness, "/healthz") == (200, "ok\n")
    finally:
        gateway.recorder.fenced.clear()


def test_other_paths_and_methods_are_not_there(harness: GatewayHarness) -> None:
    assert get(harness, "/metrics/")[0] == 404
    assert get(harness, "/../etc/passwd")[0] == 404
    assert ask(harness, "POST", "/metrics")[0] == 501


def test_it_ends_with_the_gateway(tmp_path: Path) -> None:
    harness = GatewayHarness(tmp_path / "state")
    with (harness.state / "gateway.toml").open("a") as file:
        file.write('\n[metrics]\nlisten = "127.0.0.1:0"\n')
    harness.start()
    assert harness.gateway is not None
    port = harness.gateway.ports["metrics"]
    # Nothing is live yet, and it is ready for its first.
    assert get(harness, "/readyz") == (200, "ready\n")
    harness.stop()
    with pytest.raises(ConnectionRefusedError):
        HTTPConnection("127.0.0.1", port, timeout=60).connect()
