"""The Helm chart, compose files and systemd units fit the gateway: network policies, time-outs,
mounts.
"""

import re
import tomllib
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml
from click import Command

from gateway.config.sections import GatewayLimits
from generation.config import GeneratorConfig
from sealgate.events.process import EventMetrics
from sealgate.health.commands import health
from tests.support.harness.gateway import ROOT
from tests.support.oracles import helm
from tests.support.oracles.programs import program, run

REDIS = {"to": [{"podSelector": {"matchLabels": {"app": "redis"}}}], "ports": [{"port": 6379}]}
VALUES = {
    "gateway": {
        "http": True,
        "settings": "[quota_store]\nurl = ${DATABASE_URL}\n",
        "egress": [REDIS],
        "pod": {"imagePullSecrets": [{"name": "pull"}]},
    },
    "engine": {
        "image": "sealgate:cuda",
        "egress": [REDIS],
        "pod": {"runtimeClassName": "nvidia", "nodeSelector": {"gpu": "yes"}},
    },
    "generator": {"enabled": True, "generation": {"queue": 8}, "egress": [REDIS]},
    "events": {"enabled": True},
}


@pytest.fixture(scope="module")
def manifests() -> dict[tuple[str, str], Any]:
    """The manifests that helm renders from other values, by kind and name."""
    documents = yaml.safe_load_all(helm.render(VALUES))
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


def pod(manifests: dict[tuple[str, str], Any], component: str) -> Any:
    return manifests["StatefulSet", f"sealgate-{component}"]["spec"]["template"]["spec"]


def test_network_policies_allow_redis_and_traces(manifests: dict[tuple[str, str], Any]) -> None:
    for component in ("gateway", "engine"):
        assert REDIS in manifests["NetworkPolicy", f"sealgate-{component}"]["spec"]["egress"]


def test_the_http_listener_is_reachable(manifests: dict[tuple[str, str], Any]) -> None:
    configuration = manifests["ConfigMap", "sealgate-gateway"]["data"]["gateway.toml"]
    read = tomllib.loads(Template(configuration).substitute(DATABASE_URL='"it"', ORDINAL=0))
    assert read["http"] == {"tls": "0.0.0.0:8445"}
    # And gateways count together in a database that is in no ConfigMap.
    assert read["quota_store"] == {"url": "it"}
    (container,) = pod(manifests, "gateway")["containers"]
    assert {"name": "http-tls", "containerPort": 8445} in container["ports"]
    service = manifests["Service", "sealgate-gateway"]["spec"]["ports"]
    assert {"name": "http-tls", "port": 8445, "targetPort": "http-tls"} in service
    callers = manifests["NetworkPolicy", "sealgate-gateway"]["spec"]["ingress"][0]
    assert {"port": 8445, "protocol": "TCP"} in callers["ports"]


def test_pods_follow_node_selectors_and_tolerations(manifests: dict[tuple[str, str], Any]) -> None:
    engine = pod(manifests, "engine")
    assert (engine["runtimeClassName"], engine["nodeSelector"]) == ("nvidia", {"gpu": "yes"})
    assert engine["containers"][0]["image"] == "sealgate:cuda"
    assert pod(manifests, "gateway")["imagePullSecrets"] == [{"name": "pull"}]


def test_a_generator_starts_if_wanted(manifests: dict[tuple[str, str], Any]) -> None:
    (container,) = pod(manifests, "generator")["containers"]
    assert container["image"] == "sealgate:generation"
    assert container["args"][:2] == ["serve", "generator"]
    gateway = manifests["ConfigMap", "sealgate-gateway"]["data"]["gateway.toml"]
    told = tomllib.loads(Template(gateway).substitute(DATABASE_URL='"it"', ORDINAL=0))["generator"]
    service = manifests["Service", "sealgate-generator"]
    assert told["address"] == f"sealgate-generator-0.{service['metadata']['name']}:9443"
    policy = manifests["NetworkPolicy", "sealgate-generator"]["spec"]
    assert [way["ports"] for way in policy["ingress"]] == [[{"port": 9443, "protocol": "TCP"}]]
    assert REDIS in policy["egress"]
    reached = [
        way["to"] for way in manifests["NetworkPolicy", "sealgate-gateway"]["spec"]["egress"]
    ]
    assert [{"podSelector": policy["podSelector"]}] in reached


def test_a_generator_reads_its_configuration(
    manifests: dict[tuple[str, str], Any], tmp_path: Path
) -> None:
    path = tmp_path / "generator.toml"
    path.write_text(manifests["ConfigMap", "sealgate-generator"]["data"]["generator.toml"])
    config = GeneratorConfig.read(path)
    assert config.generation.queue == 8
    # It writes to its volume alone.
    data = tmp_path / "data"
    assert (config.generation.copies.parent, config.trust.seen.parent) == (data, data)


def test_a_pod_drains_before_it_ends() -> None:
    documents = yaml.safe_load_all((helm.RENDERED / "gateway.yaml").read_text())
    (spec,) = [each["spec"] for each in documents if each["kind"] == "StatefulSet"]
    pod = spec["template"]["spec"]
    word, seconds = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert word == "sleep"
    # Calls, then runs, then entries that are being written.
    assert pod["terminationGracePeriodSeconds"] >= int(seconds) + 3 * GatewayLimits().drain


@pytest.mark.parametrize("name", ["Containerfile", "Containerfile.cuda"])
def test_images_can_send_traces(name: str) -> None:
    text = (ROOT / "deploy" / "container" / name).read_text()
    (extras,) = [line for line in text.splitlines() if line.startswith("ARG EXTRAS=")]
    assert "otel" in extras


def test_the_compose_healthcheck_has_a_certificate_authority() -> None:
    """It could be set for the shell alone, from which nothing reached the container."""
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yml").read_text())
    told = compose["services"]["gateway"]["environment"]
    assert told["SEALGATE_NAME"] == "${SEALGATE_NAME:-localhost}"
    assert told["SEALGATE_AUTHORITY"].startswith("${SEALGATE_AUTHORITY:-")


def test_prometheus_scrapes_the_metrics_that_alerts_use(
    manifests: dict[tuple[str, str], Any],
) -> None:
    file = ROOT / "deploy" / "prometheus" / "kubernetes.yml"
    checked = run([program("promtool"), "check", "config", file])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    labels = ["app_kubernetes_io_name", "app_kubernetes_io_component"]
    for job in yaml.safe_load(file.read_text())["scrape_configs"]:
        keep, namespace, _ = job["relabel_configs"]
        name, component, port = keep["regex"].split(";")
        *shown, last = keep["source_labels"]
        assert shown == [f"__meta_kubernetes_pod_label_{label}" for label in labels]
        assert last == "__meta_kubernetes_pod_container_port_name"
        assert namespace["target_label"] == "namespace"
        assert job["job_name"] == (
            "sealgate" if component == "gateway" else f"sealgate-{component}"
        )
        template = manifests["StatefulSet", f"sealgate-{component}"]["spec"]["template"]
        assert template["metadata"]["labels"]["app.kubernetes.io/name"] == name
        assert template["metadata"]["labels"]["app.kubernetes.io/component"] == component
        (container,) = template["spec"]["containers"]
        number = 9466 if component == "events" else 9464
        assert {"name": port, "containerPort": number} in container["ports"]


def test_pods_restart_only_when_their_configuration_changes() -> None:
    """Another number of replicas, or other callers, ended every pod."""

    def begun(values: dict[str, Any]) -> set[str]:
        return set(re.findall(r"sealgate/configuration: (\S+)", helm.render(values)))

    plain = begun({})
    assert len(plain) == 1
    assert begun({"gateway": {"replicas": 3}, "network": {"callers": []}}) == plain
    assert begun({"engine": {"settings": "[runtime]\narena_mb = 256"}}) != plain


DEPLOY = ROOT / "deploy"
ALIASES = 7


def test_the_health_unit_outlasts_the_health_check() -> None:
    unit = (DEPLOY / "systemd" / "sealgate-health.service").read_text()
    seconds = int(re.search(r"^TimeoutStartSec=(\d+)$", unit, re.M)[1])
    command: Command = health
    rows, timeout = (
        next(each.default for each in command.params if each.name == name)
        for name in ("rows", "timeout")
    )
    assert seconds >= ALIASES * rows * timeout
    # And is ended before others must take it for gone.
    rules = yaml.safe_load((DEPLOY / "prometheus" / "health-alerts.yml").read_text())
    (gone,) = [
        rule["expr"]
        for group in rules["groups"]
        for rule in group["rules"]
        if rule["alert"] == "SealgateHealthNotRun"
    ]
    assert seconds < int(gone.rpartition(">")[2])


KEY = "/var/lib/sealgate/keys/engine.key"


def test_compose_hides_the_engine_key_from_the_gateway() -> None:
    services = yaml.safe_load((ROOT / "deploy" / "compose.yml").read_text())["services"]
    at = {
        name: [volume for volume in services[name]["volumes"] if KEY in volume]
        for name in ("gateway", "engine")
    }
    assert at["gateway"] == [f"/dev/null:{KEY}:ro"]
    assert at["engine"] == [f"${{SEALGATE_STATE}}/keys/engine.key:{KEY}:ro"]


def test_the_alerts_of_events_know_its_metrics() -> None:
    failing = {"log": "away"}
    counts = {("hook", "dead"): 1, ("hook", "delivered"): 2}
    metrics = EventMetrics(lambda: counts, lambda: counts, lambda: failing)
    text, _ = metrics.numbers("")
    named = set(re.findall(r"\bsealgate_events_\w+", text.decode()))
    rules = (DEPLOY / "prometheus" / "events-alerts.yml").read_text()
    page = (ROOT / "docs" / "how-to" / "events.md").read_text()
    assert set(re.findall(r"\bsealgate_events_\w+", rules)) == named
    assert set(re.findall(r"\bsealgate_events_\w+", page)) == named
    file = DEPLOY / "prometheus" / "events-alerts.yml"
    checked = run([program("promtool"), "check", "rules", file])
    assert checked.returncode == 0, checked.stdout + checked.stderr
