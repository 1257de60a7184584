"""The chart's parts that are clients of the gateway: the events process and the console."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from console.config import ConsoleConfig
from sealgate.events.config import EventsConfig
from tests.support.oracles import helm

VALUES = {
    "events": {
        "enabled": True,
        "settings": """[network]
hosts = ["hooks.example.com"]

[[destinations]]
name = "ticketing"
url = "https://hooks.example.com/sealgate"
secrets = ["secrets/ticketing.key"]
""",
    },
    "console": {
        "enabled": True,
        "settings": '[oidc]\nissuer = "https://id.example"\nclient_id = "console"\n',
    },
}
PARTS = ["events", "console"]
KINDS = {"events": "StatefulSet", "console": "Deployment"}


@pytest.fixture(scope="module")
def manifests() -> dict[tuple[str, str], Any]:
    documents = yaml.safe_load_all(helm.render(VALUES))
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


def test_neither_is_there_unless_it_is_wanted() -> None:
    names = {each["metadata"]["name"] for each in yaml.safe_load_all(helm.render())}
    assert not {"sealgate-events", "sealgate-console"} & names


@pytest.mark.parametrize("part", PARTS)
class TestPod:
    def test_it_runs_its_command_once_as_nobody_in_particular(
        self, manifests: dict[tuple[str, str], Any], part: str
    ) -> None:
        spec = manifests[KINDS[part], f"sealgate-{part}"]["spec"]
        assert spec["replicas"] == 1
        pod = spec["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        (main,) = pod["containers"]
        assert main["args"] == ["serve", part, "--config", f"/var/lib/sealgate/{part}.toml"]
        for container in [*pod["initContainers"], main]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        # The serving container mounts no secret: the init container has laid them out.
        assert {mount["name"] for mount in main["volumeMounts"]} <= {"state", "data", "tmp"}
        assert "env" not in main
        assert "envFrom" not in main

    def test_it_sees_no_key_of_gateway_or_engine(
        self, manifests: dict[tuple[str, str], Any], part: str
    ) -> None:
        pod = manifests[KINDS[part], f"sealgate-{part}"]["spec"]["template"]["spec"]
        secrets = {each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each}
        own = {
            "events": {"sealgate-events", "sealgate-webhooks"},
            "console": {"sealgate-console", "sealgate-trust"},
        }
        assert secrets == own[part]

    def test_it_reaches_the_gateway_and_https(
        self, manifests: dict[tuple[str, str], Any], part: str
    ) -> None:
        policy = manifests["NetworkPolicy", f"sealgate-{part}"]["spec"]
        ports = [{port["port"] for port in way["ports"]} for way in policy["egress"]]
        assert ports == [{8443, 8444}, {53}, {443}]
        (peer,) = policy["egress"][0]["to"]
        assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"
        # And the gateway hears it.
        selected = [{"podSelector": policy["podSelector"]}]
        ways = manifests["NetworkPolicy", "sealgate-gateway"]["spec"]["ingress"]
        assert selected in [way["from"] for way in ways]


def test_the_events_process_reads_its_configuration(
    manifests: dict[tuple[str, str], Any], tmp_path: Path
) -> None:
    path = tmp_path / "events.toml"
    path.write_text(manifests["ConfigMap", "sealgate-events"]["data"]["events.toml"])
    config = EventsConfig.read(path)
    pod = manifests["StatefulSet", "sealgate-events"]["spec"]["template"]["spec"]
    (main,) = pod["containers"]
    (port,) = main["ports"]
    assert config.metrics.port == port["containerPort"]
    # Its profile and secrets are where the init container lays secrets out.
    mounted = {
        mount["name"]: Path(mount["mountPath"]).name
        for mount in pod["initContainers"][0]["volumeMounts"]
    }
    assert config.gateway.profile == tmp_path / mounted["profile"] / "profile.toml"
    assert config.destinations[0].secrets == (tmp_path / mounted["secrets"] / "ticketing.key",)
    # It writes to its volume alone.
    assert config.state.database.parent == tmp_path / "data"


def test_the_console_reads_its_configuration(
    manifests: dict[tuple[str, str], Any], tmp_path: Path
) -> None:
    path = tmp_path / "console.toml"
    path.write_text(manifests["ConfigMap", "sealgate-console"]["data"]["console.toml"])
    config = ConsoleConfig.read(path)
    service = manifests["Service", "sealgate-gateway"]["spec"]["ports"]
    assert config.gateway.endpoint == "sealgate-gateway:8444"
    assert {"name": "mutual", "port": 8444, "targetPort": "mutual"} in service
    assert config.gateway.key == tmp_path / "tls" / "console.key"


def test_an_event_setting_restarts_no_gateway() -> None:
    def begun(values: dict[str, Any]) -> dict[str, str]:
        return {
            each["metadata"]["name"]: each["spec"]["template"]["metadata"]["annotations"][
                "sealgate/configuration"
            ]
            for each in yaml.safe_load_all(helm.render(values))
            if each["kind"] in ("StatefulSet", "Deployment")
        }

    before = begun(VALUES)
    events = {**VALUES["events"], "fromBeginning": True}
    after = begun({**VALUES, "events": events})
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"sealgate-events"}
