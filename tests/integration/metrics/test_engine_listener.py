"""The listener of `[metrics]` of an engine in a process of its own: what a real engine shows."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.backends import EngineProcess, build
from gateway.observability.engine import ENGINE_FAMILIES, EngineMetrics
from inference.batching.job import RequestOptions
from inference.server.config import EngineConfig
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError, MetricsSettings
from sealgate.setup.configuration import EnginePlace
from tests.support.builders.models.version_files import clean_rows
from tests.support.fakes.registry import UncheckedRegistry, UncheckedVersion
from tests.support.harness.engine import EngineHarness, engine_harness
from tests.support.harness.engine_outcomes import FILES, MODEL
from tests.support.harness.gateway import GatewayHarness
from tests.support.harness.rollouts import await_true
from tests.support.oracles.programs import program, run

DIGITS = {"model": "digits", "version": "1"}


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineHarness]:
    with engine_harness(UncheckedRegistry(), tmp_path_factory.mktemp("harness")) as harness:
        yield harness


@pytest.fixture(scope="module")
def version(harness: EngineHarness) -> UncheckedVersion:
    made = harness.publish(FILES)
    harness.registry.promote(made)
    harness.show()
    return made


@pytest.fixture(scope="module")
def metrics(harness: EngineHarness, version: UncheckedVersion) -> Iterator[EngineMetrics]:
    metrics = EngineMetrics(MetricsSettings("127.0.0.1:0"), harness.engine, lambda: 3)
    metrics.start()
    yield metrics
    metrics.stop()


def get(metrics: EngineMetrics, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", metrics.port, timeout=60)
    connection.request("GET", path)
    response = connection.getresponse()
    found = response.status, response.read().decode()
    connection.close()
    return found


class Scraped:
    """`/metrics` at this moment, as Prometheus' own parser reads it."""

    def __init__(self, metrics: EngineMetrics) -> None:
        self.families = list(text_string_to_metric_families(get(metrics, "/metrics")[1]))

    def __call__(self, name: str, **labels: str) -> float:
        """The value of the one series whose name ends so."""
        (found,) = [
            sample.value
            for family in self.families
            for sample in family.samples
            if (sample.name, sample.labels) == (f"sealgate_engine_{name}", labels)
        ]
        return float(found)


def test_batches_and_queue(
    harness: EngineHarness, version: UncheckedVersion, metrics: EngineMetrics
) -> None:
    before = Scraped(metrics)
    for count in (1, 2, 5):
        harness.ask(version, clean_rows(MODEL, count))
    after = Scraped(metrics)

    def grown(name: str, **more: str) -> float:
        return after(name, **DIGITS, **more) - before(name, **DIGITS, **more)

    for name in ("queue", "batch", "screening", "inference"):
        assert grown(f"{name}_seconds_count") == 3
        assert 0 < grown(f"{name}_seconds_sum") < 60
    assert grown("batch_rows_sum") == 8
    assert grown("batch_rows_bucket", le="2.0") == 2
    assert after("pointer_sequence", model="digits", alias="production") == 1
    assert after("version_ready", **DIGITS, reason="") == 1
    assert (after("replicas"), after("ready")) == (3, 1)


def test_what_waits_and_what_is_dropped(
    harness: EngineHarness, version: UncheckedVersion, metrics: EngineMetrics
) -> None:
    before = Scraped(metrics)
    assert before("queue_rows", **DIGITS) == 0
    ready: Any = harness.engine.resolve("digits").ready
    batcher = ready.batcher
    batcher.free_lanes -= 1
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(harness.ask, version, clean_rows(MODEL, 3)) for _ in "ab"]
        await_true(lambda: Scraped(metrics)("queue_rows", **DIGITS) == 6)
        batcher.pass_on([])
        assert [each.result().model_version for each in asked] == ["1", "1"]
    batcher.free_lanes -= 1
    live, x = harness.engine.resolve("digits"), clean_rows(MODEL, 1)
    with pytest.raises(SealgateError) as caught:
        harness.engine.infer(live, x, RequestOptions(0.0))
    assert caught.value.reason is Reason.DEADLINE_TOO_SHORT
    batcher.pass_on([])
    after = Scraped(metrics)
    assert after("queue_rows", **DIGITS) == 0
    assert after("dropped_total", **DIGITS) - before("dropped_total", **DIGITS) == 1


def test_every_family_is_shown_and_no_other(metrics: EngineMetrics) -> None:
    found = Scraped(metrics).families
    expected = {(each.name.removesuffix("_total"), each.kind) for each in ENGINE_FAMILIES}
    assert {(each.name, each.type) for each in found} == expected
    labels = {series: set(each.labels) for each in ENGINE_FAMILIES for series in each.series}
    for family in found:
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == labels[sample.name]


def test_prometheus_own_linter_has_no_complaint(metrics: EngineMetrics) -> None:
    checked = run([program("promtool"), "check", "metrics"], get(metrics, "/metrics")[1])
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


class TestProcess:
    """As `engine.toml` asks for it."""

    @pytest.fixture
    def state(self, tmp_path: Path) -> Path:
        GatewayHarness(tmp_path / "state", engine=EnginePlace())
        return tmp_path / "state"

    def built(self, state: Path, section: str) -> EngineProcess:
        with (state / "engine.toml").open("a") as file:
            file.write(f"\n[metrics]\n{section}\n")
        return build(EngineConfig.read(state / "engine.toml"))

    def test_it_listens_as_long_as_the_engine_does(self, state: Path) -> None:
        engine = self.built(state, 'listen = "127.0.0.1:0"')
        engine.start()
        # It follows nothing yet, and gateways must be sent to it all the same.
        assert get(engine.metrics, "/readyz") == (200, "ready\n")
        assert get(engine.metrics, "/healthz") == (200, "ok\n")
        assert Scraped(engine.metrics)("ready") == 1
        engine.metrics.drain()
        assert get(engine.metrics, "/readyz") == (503, "draining\n")
        engine.stop()
        with pytest.raises(ConnectionRefusedError):
            HTTPConnection("127.0.0.1", engine.metrics.port, timeout=60).connect()

    def test_nothing_listens_unless_it_is_asked_for(self, state: Path) -> None:
        engine = build(EngineConfig.read(state / "engine.toml"))
        assert engine.metrics.port is None
        engine.start()
        engine.stop()

    def test_it_is_of_this_machine_alone(self, state: Path) -> None:
        with pytest.raises(ConfigError, match="insecure_beyond_loopback"):
            self.built(state, 'listen = "0.0.0.0:9465"')
