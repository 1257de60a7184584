"""The systemd units, checked by systemd-analyze; no service manager runs them here."""

import re
import sys
from pathlib import Path

import pytest

from gateway.config.document import GatewayConfig
from inference.server.config import EngineConfig
from sealgate.setup.configuration import EnginePlace
from tests.support.harness.gateway import ROOT, GatewayHarness
from tests.support.oracles.programs import program, run

UNITS = [ROOT / "deploy/systemd" / f"sealgate-{name}.service" for name in ("gateway", "engine")]
DROP_INS = sorted((ROOT / "deploy/systemd").glob("engine-*.conf"))
# Of 100; a unit without any hardening has 96.
MOST_EXPOSED = 15


def verify(folder: Path, change: tuple[str, str] = ("", ""), drop_in: Path | None = None) -> str:
    """Return the output of systemd-analyze on both units, with a program that exists here and a
    drop-in for the engine's.
    """
    (folder / "sealgate-engine.service.d").mkdir()
    files = [(unit, folder / unit.name) for unit in UNITS]
    if drop_in is not None:
        files.append((drop_in, folder / "sealgate-engine.service.d" / drop_in.name))
    for file, there in files:
        text = re.sub(r"/opt/sealgate(-ray)?/bin/sealgate", sys.executable, file.read_text())
        there.write_text(text.replace(*change))
    made = [folder / unit.name for unit in UNITS]
    done = run([program("systemd-analyze"), "verify", "--man=no", *made])
    said = [line for line in done.stderr.splitlines() if str(folder) in line or "sealgate" in line]
    return "\n".join(said)


def test_systemd_takes_them(tmp_path: Path) -> None:
    assert verify(tmp_path) == ""


def test_systemd_would_say_so(tmp_path: Path) -> None:
    assert "MemoryMaximum" in verify(tmp_path, ("MemoryMax", "MemoryMaximum"))


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.name)
class TestDropIns:
    def test_systemd_takes_it(self, drop_in: Path, tmp_path: Path) -> None:
        assert verify(tmp_path, drop_in=drop_in) == ""

    def test_systemd_would_say_so(self, drop_in: Path, tmp_path: Path) -> None:
        misspelt = ("RestrictAddressFamilies=AF_UNIX AF_INET\n", "RestrictFamilies=AF_INET\n")
        assert drop_in.name in verify(tmp_path, misspelt, drop_in)


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
class TestEach:
    def test_little_of_the_machine_is_exposed(self, unit: Path) -> None:
        command = [program("systemd-analyze"), "security", "--offline=true"]
        done = run([*command, f"--threshold={MOST_EXPOSED}", unit])
        assert done.returncode == 0, done.stdout

    def test_it_is_bounded_and_nobody_in_particular(self, unit: Path) -> None:
        text = unit.read_text()
        for setting in ("CPUQuota=200%", "MemoryMax=2G", "TasksMax=512", "User=sealgate"):
            assert f"\n{setting}\n" in text


def test_the_engine_sees_every_file_that_it_needs_and_no_other_key(tmp_path: Path) -> None:
    state = tmp_path / "state"
    GatewayHarness(state, engine=EnginePlace())
    text = UNITS[1].read_text()
    bound = [
        state / place.removeprefix("/var/lib/sealgate/")
        for line in re.findall(r"^Bind(?:ReadOnly)?Paths=(.+)$", text, re.MULTILINE)
        for place in line.split()
    ]
    assert all(place.exists() for place in bound)
    engine = EngineConfig.read(state / "engine.toml")
    needs = [*engine.trust.root_keys, engine.trust.seen, engine.artifacts.place]
    for path in [*needs, engine.engine.key, engine.listen.socket]:
        assert any(path.is_relative_to(place) for place in bound), path
    seen = [key for place in bound for key in [place, *place.rglob("*")] if key.suffix == ".key"]
    assert seen == [engine.engine.key]


def test_the_gateway_is_denied_none_of_its_files(tmp_path: Path) -> None:
    state = tmp_path / "state"
    GatewayHarness(state, engine=EnginePlace())
    text = UNITS[0].read_text()
    denied = [
        state / place.removeprefix("-/var/lib/sealgate/")
        for line in re.findall(r"^InaccessiblePaths=(.+)$", text, re.MULTILINE)
        for place in line.split()
    ]
    assert all(place.exists() for place in denied)
    config = GatewayConfig.read(state / "gateway.toml")
    needs = [config.tls.key, config.registry.log_key, config.answers.log_key]
    needs += [config.api_keys.mac_key, config.registry.freshness_key, config.tokens[0].key_set]
    for path in [*needs, config.trust.policy, *config.trust.root_keys]:
        assert not any(path.is_relative_to(place) for place in denied), path
