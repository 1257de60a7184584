"""A whole installation for tests: real keys, a real gateway on loopback, people who act on it."""

import itertools
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest
from click.testing import CliRunner, Result

from demo.questions import question
from demo.stage import free_ports
from gateway.app import Gateway, build
from gateway.config.document import GatewayConfig
from gateway.config.sections import GatewayLimits
from sealgate.cli.main import main
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.promotion.documents import Governance
from sealgate.reasons import Reason
from sealgate.remote import Profile, connect, reason_of
from sealgate.setup.configuration import EnginePlace
from sealgate.setup.installation import Installation, InstalledScreening, Ports
from sealgate.v1.log_pb2_grpc import LogServiceStub
from sealgate.v1.registry_pb2 import Proposal
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub
from tests.support.builders.models.calm_rows import calm_rows
from tests.support.harness import shared_run
from tests.support.harness.made_versions import made_for_others, made_once

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "demo" / "models"
DATA = ROOT / "demo" / "data"
# In seconds.
PATIENCE = 60.0


def now() -> datetime:
    return datetime.now(UTC)


class GatewayHarness:
    """An installation in `state` and, while it runs, its gateway.

    `versions` of digits are registered in it already, in this order. Publishing takes seconds, so
    that is done once and the folder copied; each has ports of its own, but the keys are the same.
    """

    def __init__(
        self,
        state: Path,
        *versions: str,
        engine: EnginePlace | None = None,
        ml_dsa_logs: bool = False,
        transport: str = "auto",
        copied: Path | None = None,
    ) -> None:
        """`copied` is an installation to copy, of an earlier release perhaps."""
        self.state = state
        self.gateway: Gateway | None = None
        self._channels = ExitStack()
        self._proposals = itertools.count()
        self._versions = Counter(versions)
        port = free_ports()
        if versions or copied:
            assert engine is None
            assert not ml_dsa_logs
            shutil.copytree(copied or _published(versions), state)
            _move(state, port)
            self._speak(transport)
            return
        ports = Ports(port, port + 1)
        Installation(
            state,
            "house",
            now(),
            ports,
            passphrase=None,
            engine=engine,
            ml_dsa_logs=ml_dsa_logs,
            # A test's requests are answered alike, whatever screening finds suspect.
            screening=InstalledScreening(suspect="flag", suspect_hold_ms=0, sessions=""),
        ).make()
        self._speak(transport)

    def start(self) -> None:
        gateway = build(patient(GatewayConfig.read(self.state / "gateway.toml")))
        try:
            gateway.start()
        except BaseException:
            # Its ports are for the next one.
            gateway.stop()
            raise
        self.gateway = gateway

    def stop(self) -> None:
        self._channels.close()
        self._channels = ExitStack()
        gateway, self.gateway = self.gateway, None
        if gateway is not None:
            gateway.stop()

    def _speak(self, transport: str) -> None:
        configuration = self.state / "gateway.toml"
        text = configuration.read_text()
        text = re.sub(r'transport = "\w+"\n', "", text)
        assert "[listen]\n" in text
        # Below the addresses, for tests put theirs right behind the section's name.
        said = f'\ntransport = "{transport}"\n\n'
        head, _, rest = text.partition("[listen]\n")
        addresses, _, others = rest.partition("\n\n")
        configuration.write_text(f"{head}[listen]\n{addresses}{said}{others}")

    def profile(self, person: str) -> Profile:
        return Profile.read(self.state / "people" / person / "profile.toml")

    def channel(self, person: str) -> grpc.Channel:
        return self._channels.enter_context(connect(self.profile(person)))

    def governance(self, person: str) -> Governance:
        return Governance(self.channel(person), self.profile(person), now)

    def registry(self, person: str) -> RegistryServiceStub:
        return RegistryServiceStub(self.channel(person))

    def logs(self, person: str = "auditor") -> LogServiceStub:
        return LogServiceStub(self.channel(person))

    def inference(self, person: str = "client") -> GRPCInferenceServiceStub:
        return GRPCInferenceServiceStub(self.channel(person))

    def command(self, *words: str, person: str | None = None) -> Result:
        """Runs `sealgate` in this process."""
        speaker = ["--as", person] if person else []
        return CliRunner().invoke(main, ["--state", str(self.state), *speaker, *words])

    def publish(self, folder: str, model: str, own_mark: bool = False) -> None:
        """Publish a demo model; what takes longest is done once for all harnesses, unless its mark
        must be by a key that this installation's publisher keeps.
        """
        data = DATA / f"{model}.safetensors"
        made = made_for_others if own_mark else made_once
        with made(folder, self._versions[folder]):
            result = self.command("model", "publish", str(MODELS / folder), "--data", str(data))
        assert result.exit_code == 0, result.output or result.exception
        self._versions[folder] += 1

    def propose(self, model: str, version: int, alias: str = "production") -> Proposal:
        """A new proposal: its time to live differs from that of any before."""
        lifetime = timedelta(days=1, seconds=next(self._proposals))
        return self.governance("publisher").propose(model, version, alias, lifetime)

    def approved(self, model: str, version: int, alias: str = "production") -> str:
        """The digest of a proposal that two people have approved."""
        proposal = self.propose(model, version, alias)
        for approver in ("approver-1", "approver-2"):
            self.governance(approver).approve(proposal.digest, "reviewed")
        return str(proposal.digest)

    def promote(self, model: str, version: int) -> None:
        self.governance("admin").promote(self.approved(model, version), "test")
        self.await_version(model, version)

    def await_version(self, model: str, version: int) -> None:
        """Waits until the alias `production` answers with the version."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            live = self.gateway.engine.live().get((model, "production"))
            if live is not None and live.version == version:
                return
            time.sleep(0.005)
        raise TimeoutError(f"{model} {version} is not live")


def patient(config: GatewayConfig) -> GatewayConfig:
    """The same with more time for a call where nothing else is said: a loaded machine may stand
    still for longer than ten seconds. Versions that run here are not tried first, which takes a
    second or two.
    """
    if not (config.all_engines or config.foreign_engine.address):
        config = replace(config, runtime=replace(config.runtime, trial=False))
    if config.limits.deadline != GatewayLimits().deadline:
        return config
    return replace(config, limits=replace(config.limits, deadline=PATIENCE))


def started_on(url: str, state: Path, *versions: str) -> GatewayHarness:
    """A running gateway whose registry is at `url`, a SQLite one in its own folder all the same."""
    sqlite = url.startswith("sqlite")
    harness = GatewayHarness(state, *(versions if sqlite else ()))
    if not sqlite:
        configuration = state / "gateway.toml"
        text = configuration.read_text()
        configuration.write_text(text.replace('"sqlite:///registry.db"', f'"{url}"'))
    harness.start()
    for version in () if sqlite else versions:
        harness.publish(version, "digits")
    return harness


def _published(versions: tuple[str, ...]) -> Path:
    """An installation that is not running, with these versions of digits, made once a test run."""

    def make(folder: Path) -> None:
        with running(folder / "state", *versions[:-1]) as harness:
            harness.publish(versions[-1], "digits", own_mark=True)

    return shared_run.made_once(f"installation-{'-'.join(versions)}", make) / "state"


def _move(state: Path, port: int) -> None:
    """Let a copied installation listen on `port` and the one after it."""
    before = int(Profile.read(state / "people/client/profile.toml").endpoint.rpartition(":")[2])
    places = {f"127.0.0.1:{before + at}": f"127.0.0.1:{port + at}" for at in range(2)}
    # Release 0.1 had no console.
    configurations = [path for path in state.glob("*.toml") if path.stem in ("gateway", "console")]
    for file in (*configurations, *state.glob("people/*/profile.toml")):
        file.write_text(re.sub("|".join(places), lambda at: places[at[0]], file.read_text()))


def rows(model: str = "digits", count: int = 1) -> np.ndarray:
    """Held-out inputs [count, features] of a demo model, none of which screening should refuse.

    They are twenty, over and over: those that score furthest below the threshold of `suspect`. A
    watermark's key is random, and so are, within their bound, the false alarms near the threshold.
    """
    found, _ = calm_rows(model)
    return np.resize(found, (count, found.shape[1]))


def labels(model: str = "digits", count: int = 1) -> np.ndarray:
    """The classes of `rows`."""
    return np.resize(calm_rows(model)[1], count)


def refusal(call, *arguments, **options) -> Reason:
    """The reason with which a remote call is refused."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    reason = reason_of(caught.value)
    assert reason is not None, caught.value
    return reason


@contextmanager
def running(state: Path, *versions: str, transport: str = "auto") -> Iterator[GatewayHarness]:
    harness = GatewayHarness(state, *versions, transport=transport)
    harness.start()
    try:
        yield harness
    finally:
        harness.stop()


__all__ = [
    "DATA",
    "MODELS",
    "PATIENCE",
    "GatewayHarness",
    "labels",
    "question",
    "refusal",
    "rows",
    "running",
    "started_on",
]
