"""A second gateway of a gateway's registry, in a process and with an answer log of its own."""

import subprocess
import sys
from pathlib import Path
from typing import Protocol

import grpc

from demo.stage import free_ports
from gateway.config.document import GatewayConfig
from sealgate.remote import Profile, connect
from sealgate.trust.keys import PrivateKey, write_private_file
from sealgate.trust.transparency.note import vkey
from tests.support.harness.policy_changes import first_document, root, signed

ORIGIN = "house.localhost/answers-2"


class FirstGateway(Protocol):
    """The parts of the first gateway that a second needs: where its files lie, and its people's
    profiles.
    """

    state: Path

    def profile(self, person: str) -> Profile: ...


class SecondGateway:
    """`line` is the verifier key that the policy must name before it starts."""

    def __init__(self, harness: FirstGateway) -> None:
        self._harness = harness
        self._port = free_ports()
        self._process: subprocess.Popen[str] | None = None
        self.config = harness.state / "second.toml"
        key = PrivateKey.generate()
        write_private_file(harness.state / "keys" / "answers-2.key", key.to_pem())
        self.line = vkey(ORIGIN, key.public)
        self.config.write_text(self._configuration())

    def name_in_first_policy(self) -> None:
        """Let the policy that the installation was made with name its log: before either starts."""
        document = first_document(self._harness)
        document["logs"]["answers"].append(self.line)
        keys = [root(self._harness, number) for number in (1, 2)]
        (self._harness.state / "trust" / "policy.json").write_bytes(signed(document, *keys))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = [sys.executable, "-m", "sealgate.cli.main", "--state", str(self._harness.state)]
        self._process = subprocess.Popen(
            [*words, "serve", "--config", str(self.config)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "mutual" in line:
                return
        raise AssertionError("it ended")

    def kill(self) -> None:
        """End it in the middle of what it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def profile(self, person: str) -> Path:
        """The profile of somebody who asks this gateway."""
        path = self._harness.state / "people" / person / "second.toml"
        mine = self._harness.profile(person)
        port = self._port if mine.token else self._port + 1
        text = (path.parent / "profile.toml").read_text()
        path.write_text(text.replace(mine.endpoint, f"127.0.0.1:{port}"))
        return path

    def channel(self, person: str) -> grpc.Channel:
        return connect(Profile.read(self.profile(person)))

    def _configuration(self) -> str:
        text = (self._harness.state / "gateway.toml").read_text()
        listen = GatewayConfig.read(self._harness.state / "gateway.toml").listen
        for old, new in {
            listen.tls: f"127.0.0.1:{self._port}",
            listen.mutual: f"127.0.0.1:{self._port + 1}",
            "seen.json": "seen-2.json",
            'uploads = "uploads"': 'uploads = "uploads-2"',
            '"answers.db"': '"answers-2.db"',
            "keys/answers.key": "keys/answers-2.key",
            "house.localhost/answers": ORIGIN,
        }.items():
            assert old in text
            text = text.replace(old, new)
        return text
