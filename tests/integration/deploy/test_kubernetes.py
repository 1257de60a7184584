"""The chart and its rendered manifests: held to Kubernetes' schemas, to helm's own rendering, and
to what they promise. No cluster runs them here.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config.document import GatewayConfig
from inference.server.config import EngineConfig
from sealgate.setup.configuration import EnginePlace
from sealgate.trust.keys import read_private_file
from tests.support.harness.gateway import ROOT, GatewayHarness
from tests.support.oracles import helm
from tests.support.oracles.programs import program, python_with, run

RENDERED = sorted(helm.RENDERED.glob("*.yaml"))
TEXT = "---\n".join(path.read_text() for path in RENDERED)
DOCUMENTS = list(yaml.safe_load_all(TEXT))
DATABASE = 'postgresql://sealgate:pass"word$1@database/sealgate'


def key(document: dict[str, Any]) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]


def named(kind: str, name: str) -> dict[str, Any]:
    """One of the manifests."""
    (found,) = [document for document in DOCUMENTS if key(document) == (kind, name)]
    return dict(found)


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for document in DOCUMENTS:
        if "template" in document.get("spec", {}):
            yield document["metadata"]["name"], document["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What Kubernetes' schemas have against each file: ours, all with the optional parts, and one
    that is spoiled.
    """
    folder = tmp_path_factory.mktemp("manifests")
    bad, whole = folder / "bad.yaml", folder / "whole.yaml"
    bad.write_text(TEXT.replace("readOnlyRootFilesystem", "readOnlyRoot"))
    whole.write_text(
        helm.render({part: {"enabled": True} for part in ("generator", "events", "console")})
    )
    validator = Path(python_with("kubernetes_validate")).parent / "kubernetes-validate"
    done = run([validator, "--strict", *RENDERED, whole, bad])
    said = (done.stdout + done.stderr).splitlines()
    return {
        path.name: [line for line in said if str(path) in line and " passed for " not in line]
        for path in (*RENDERED, whole, bad)
        if any(str(path) in line for line in said)
    }


class TestOthersPrograms:
    def test_kubernetes_schemas_find_nothing(self, found: dict[str, list[str]]) -> None:
        assert {name: found[name] for name in found if name != "bad.yaml"} == {
            name: [] for name in (*(path.name for path in RENDERED), "whole.yaml")
        }

    def test_they_would(self, found: dict[str, list[str]]) -> None:
        assert len(found["bad.yaml"]) == 3
        assert all("readOnlyRoot" in line for line in found["bad.yaml"])

    def test_what_is_committed_is_what_helm_renders(self) -> None:
        rendered = {key(one): one for one in yaml.safe_load_all(helm.render())}
        assert rendered == {key(one): one for one in DOCUMENTS}, "run `make kubernetes`"

    def test_prometheus_takes_the_autoscalers_query(self, tmp_path: Path) -> None:
        (rule,) = yaml.safe_load((ROOT / "deploy/prometheus/adapter.yml").read_text())
        query = rule["metricsQuery"].replace("<<.LabelMatchers>>", 'namespace="sealgate"')
        rules = {"groups": [{"name": "adapter", "rules": [{"record": "a:b", "expr": query}]}]}
        path = tmp_path / "rules.yml"
        path.write_text(yaml.safe_dump(rules))
        done = run([program("promtool"), "check", "rules", path])
        assert done.returncode == 0, done.stderr
        (metric,) = named("HorizontalPodAutoscaler", "sealgate-engine")["spec"]["metrics"]
        assert metric["external"]["metric"]["name"] == rule["name"]["as"]


class TestPods:
    def test_there_are_two_kinds(self) -> None:
        assert {name for name, _ in pods()} == {"sealgate-engine", "sealgate-gateway"}

    @pytest.mark.parametrize(("name", "pod"), list(pods()))
    def test_each_is_nobody_in_particular(self, name: str, pod: dict[str, Any]) -> None:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in [*pod["initContainers"], *pod["containers"]]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert {"limits", "requests"} <= set(container["resources"]), name

    @pytest.mark.parametrize(("name", "pod"), list(pods()))
    def test_secrets_are_named_and_not_here(self, name: str, pod: dict[str, Any]) -> None:
        assert "Secret" not in {document["kind"] for document in DOCUMENTS}
        assert not re.search(r"PRIVATE KEY|postgresql://[^ …]*:", TEXT)
        for container in [*pod["initContainers"], *pod["containers"]]:
            assert all("valueFrom" in entry for entry in container.get("env", [])), name
        # The container that answers calls sees only the secrets laid out for it.
        (main,) = pod["containers"]
        assert {mount["name"] for mount in main["volumeMounts"]} == {"state", "data", "tmp"}

    def test_the_gateway_is_asked_how_it_is(self) -> None:
        (gateway,) = dict(pods())["sealgate-gateway"]["containers"]
        asked = {
            probe: gateway[f"{probe}Probe"]["httpGet"]["path"]
            for probe in ("liveness", "readiness")
        }
        assert asked == {"liveness": "/healthz", "readiness": "/readyz"}

    @pytest.mark.parametrize("component", ["gateway", "engine"])
    def test_not_all_of_a_kind_are_taken_away_at_once(self, component: str) -> None:
        budget = named("PodDisruptionBudget", f"sealgate-{component}")["spec"]
        assert budget["maxUnavailable"] == 1
        labels = budget["selector"]["matchLabels"]
        template = named("StatefulSet", f"sealgate-{component}")["spec"]["template"]
        assert labels.items() <= template["metadata"]["labels"].items()


class TestHealth:
    def test_it_asks_by_itself_as_nobody_in_particular(self) -> None:
        job = named("CronJob", "sealgate-health")["spec"]
        assert (job["concurrencyPolicy"], job["jobTemplate"]["spec"]["backoffLimit"]) == (
            "Forbid",
            0,
        )
        pod = job["jobTemplate"]["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        (main,) = pod["containers"]
        for container in [*pod["initContainers"], main]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert main["args"][-1] == "health"
        assert {mount["name"] for mount in main["volumeMounts"]} == {"state", "tmp"}

    def test_it_reaches_gateways_alone(self) -> None:
        policy = named("NetworkPolicy", "sealgate-health")["spec"]
        labels = named("CronJob", "sealgate-health")["spec"]["jobTemplate"]["spec"]["template"]
        selected = policy["podSelector"]["matchLabels"]
        assert selected.items() <= labels["metadata"]["labels"].items()
        assert policy["policyTypes"] == ["Egress"]
        (peer,) = policy["egress"][0]["to"]
        assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"

    def test_its_profile_is_laid_out(self, tmp_path: Path) -> None:
        folder = tmp_path / "sources" / "profile"
        folder.mkdir(parents=True)
        (folder / "profile.toml").write_text("[gateway]\n")
        (tmp_path / "state").mkdir()
        script = helm.CHART / "files" / "settle.py"
        environment = {**os.environ, "POD_NAME": "sealgate-health-29401-x7b2k"}
        state = tmp_path / "state"
        done = run([sys.executable, script, folder.parent, state], environment=environment)
        assert done.returncode == 0, done.stderr
        pod = named("CronJob", "sealgate-health")["spec"]["jobTemplate"]["spec"]["template"]
        (main,) = pod["spec"]["containers"]
        place = Path(main["args"][1]).relative_to("/var/lib/sealgate")
        assert (state / place).read_text() == "[gateway]\n"


class TestNetwork:
    def test_nothing_goes_in_or_out_unless_it_is_named(self) -> None:
        deny = named("NetworkPolicy", "sealgate-deny")["spec"]
        assert sorted(deny["policyTypes"]) == ["Egress", "Ingress"]
        assert not {"ingress", "egress"} & set(deny)
        for _, template in [
            (d["kind"], d["spec"]["template"]) for d in DOCUMENTS if "template" in d.get("spec", {})
        ]:
            labels = template["metadata"]["labels"]
            assert deny["podSelector"]["matchLabels"].items() <= labels.items()

    def test_engines_hear_gateways_alone(self) -> None:
        way_in, watched = named("NetworkPolicy", "sealgate-engine")["spec"]["ingress"]
        assert [port["port"] for port in watched["ports"]] == [9464]
        (peer,) = way_in["from"]
        assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"
        assert [port["port"] for port in way_in["ports"]] == [9443]

    def test_every_way_names_who_is_at_its_other_end(self) -> None:
        for component in ("gateway", "engine"):
            spec = named("NetworkPolicy", f"sealgate-{component}")["spec"]
            assert all(way["from"] and way["ports"] for way in spec["ingress"])
            assert all(way["to"] and way["ports"] for way in spec["egress"])


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mounts of a pod: a real installation, mounted as Kubernetes mounts it."""
    state = tmp_path_factory.mktemp("installation") / "state"
    GatewayHarness(state, engine=EnginePlace("engine.internal:9443"))
    folder = tmp_path_factory.mktemp("sources")
    files = {
        "keys": [
            ("registry-log.key", "registry-log.key"),
            ("freshness.key", "freshness.key"),
            ("api-keys.key", "api-keys.key"),
            ("answers.key", "answers-0.key"),
            ("answers.key", "answers-1.key"),
        ],
        "trust": [(path.name, path.name) for path in (state / "trust").iterdir()],
        "tls": [(path.name, path.name) for path in (state / "tls").iterdir()],
    }
    engine = [
        ("keys/engine.key", "engine.key"),
        ("tls/engine.pem", "tls.pem"),
        ("tls/engine.key", "tls.key"),
        ("tls/engine-client.pem", "client.pem"),
    ]
    mounted = [
        (state / kind / old, kind, new) for kind, pairs in files.items() for old, new in pairs
    ]
    mounted += [(state / old, "engine", new) for old, new in engine]
    for source, kind, name in mounted:
        # A secret's files are links into a folder that is exchanged as a whole.
        there = folder / kind / "..data" / name
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, there)
        there.chmod(0o440)
        (folder / kind / name).symlink_to(Path("..data") / name)
    return folder


def settled(sources: Path, pod: str, state: Path) -> Path:
    """The state of a pod, laid out by the program in its ConfigMap."""
    name = pod.rpartition("-")[0]
    config = named("ConfigMap", name)["data"]
    folder = state.parent / "mounts"
    shutil.copytree(sources, folder, symlinks=True)
    (folder / "config").mkdir()
    for file, text in config.items():
        (folder / "config" / file).write_text(text)
    state.mkdir()
    script = folder / "config" / "settle.py"
    environment = {**os.environ, "POD_NAME": pod, "DATABASE_URL": DATABASE}
    # A container that starts anew in the same pod lays it out anew.
    for _ in range(2):
        done = run([sys.executable, script, folder, state], environment=environment)
        assert done.returncode == 0, done.stderr
    return state


class TestConfiguration:
    def test_a_gateway_reads_it(self, sources: Path, tmp_path: Path) -> None:
        state = settled(sources, "sealgate-gateway-1", tmp_path / "state")
        config = GatewayConfig.read(state / "gateway.toml")
        assert config.registry.database == DATABASE
        assert config.answers.origin == "sealgate.localhost/answers-1"
        assert (
            len(config.engines)
            == named("HorizontalPodAutoscaler", "sealgate-engine")["spec"]["maxReplicas"]
        )
        named_files = [
            config.answers.log_key,
            config.registry.log_key,
            config.api_keys.mac_key,
            config.tls.certificate,
            config.tls.key,
            config.trust.policy,
            config.engines[0].client_key,
            *config.trust.root_keys,
        ]
        assert all(read_private_file(Path(str(path))) for path in named_files)
        assert not (state / "keys" / "answers-0.key").exists()
        services = named("Service", "sealgate-engine")["metadata"]["name"]
        assert config.engines[0].address == f"sealgate-engine-0.{services}:9443"

    def test_an_engine_reads_it(self, sources: Path, tmp_path: Path) -> None:
        state = settled(sources, "sealgate-engine-0", tmp_path / "state")
        config = EngineConfig.read(state / "engine.toml")
        named_files = [
            config.engine.key,
            config.tls.key,
            *config.tls.gateways,
            *config.trust.root_keys,
        ]
        assert all(read_private_file(Path(str(path))) for path in named_files)
        assert DATABASE not in (state / "engine.toml").read_text()

    def test_a_name_that_is_not_known_lays_nothing_out(self, sources: Path, tmp_path: Path) -> None:
        folder = tmp_path / "mounts" / "config"
        folder.mkdir(parents=True)
        (folder / "gateway.toml").write_text("${SOMETHING}")
        (tmp_path / "state").mkdir()
        environment = {**os.environ, "POD_NAME": "gateway-0"}
        script = helm.CHART / "files" / "settle.py"
        done = run(
            [sys.executable, script, folder.parent, tmp_path / "state"], environment=environment
        )
        assert done.returncode != 0
        assert list((tmp_path / "state").iterdir()) == []
