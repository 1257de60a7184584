"""A gateway whose gateway is a process of its own, for what cannot be done to one's own process."""

import time
from collections.abc import Callable

from tests.support.harness.clients.callers import LONGEST, newcomer
from tests.support.harness.gateway import GatewayHarness
from tests.support.harness.processes.gateway_process import GatewayProcess


class GatewayDeployment:
    """The gateway's people act as ever; `gateway` is to be started here, not by the gateway."""

    def __init__(self, harness: GatewayHarness, *before: str, **environment: str) -> None:
        """`before` and `environment` are the process'."""
        self.harness = harness
        self.gateway = GatewayProcess(harness.state, *before, **environment)
        self.ports: dict[str, int] = {}

    def configure(self, text: str) -> None:
        """Add sections to the gateway's configuration, before it starts."""
        with (self.harness.state / "gateway.toml").open("a") as file:
            file.write(text)

    def change(self, old: str, new: str) -> None:
        """Change what the gateway's configuration says, before it starts."""
        path = self.harness.state / "gateway.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def listen_in_clear(self, port: int) -> None:
        """Listen for gRPC on `port` of loopback, and for HTTP on the next one."""
        self.ports = {"grpc": port, "http": port + 1}
        self.change("[listen]\n", f'[listen]\ninsecure = "127.0.0.1:{port}"\n')
        self.configure(f'\n[http]\ninsecure = "127.0.0.1:{port + 1}"\n')

    @property
    def bearer(self) -> tuple[str, str]:
        """The header by which the client is known."""
        token = self.harness.profile("client").token.read_text().strip()
        return "authorization", f"Bearer {token}"

    def promote(self, version: int) -> None:
        """Bring a version of digits into production, and wait until it answers."""
        approved = self.harness.approved("digits", version)
        self.harness.governance("admin").promote(approved, "test")
        self.await_version(version)

    def await_version(self, version: int, seconds: float = LONGEST) -> float:
        """Wait until production answers with the version; returns for how long."""
        return until(lambda: newcomer(self.harness) == str(version), seconds)

    def close(self) -> None:
        self.harness.stop()
        if self.gateway.runs:
            self.gateway.stop()


def until(holds: Callable[[], bool], seconds: float = LONGEST) -> float:
    """Wait until it holds; returns for how long."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < seconds
        time.sleep(0.01)
    return time.monotonic() - begun
