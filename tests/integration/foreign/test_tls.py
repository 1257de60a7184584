"""A foreign server on another machine is reached by TLS, and must be the one that is meant."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inference.engine.version_contents import INT8
from sealgate.reasons import Reason
from sealgate.settings import ConfigError
from sealgate.setup.credentials import CertificateAuthority
from tests.support.fakes.registry import UncheckedRegistry
from tests.support.harness.engine_outcomes import FILES, PLACE, only, promoted
from tests.support.harness.servers.foreign_servers import SmallServer

NOW = datetime.now(UTC)


class Papers:
    """Authorities and certificates on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.theirs = CertificateAuthority("theirs", NOW, timedelta(days=1))
        self.ours = CertificateAuthority("ours", NOW, timedelta(days=1))

    def write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return Papers(tmp_path)


@pytest.fixture
def server(papers: Papers) -> Iterator[SmallServer]:
    issued = papers.theirs.server("models", ("localhost",))
    small = SmallServer(issued, papers.ours.pem)
    small.deploy("digits", 1, FILES[INT8])
    yield small
    small.stop()


def test_it_is_reached_by_mutual_tls(
    registry: UncheckedRegistry, start, server: SmallServer, papers: Papers
) -> None:
    promoted(registry)
    own = papers.ours.caller("gateway")
    engine = start(
        server.address,
        authority=papers.write("theirs.pem", papers.theirs.pem),
        certificate=papers.write("own.pem", own.certificate),
        key=papers.write("own.key", own.key),
    )
    assert engine.update(registry, registry).loaded == (PLACE,)


def test_another_server_is_not_asked(
    registry: UncheckedRegistry, start, server: SmallServer, papers: Papers
) -> None:
    promoted(registry)
    own = papers.ours.caller("gateway")
    certificate, key = papers.write("own.pem", own.certificate), papers.write("own.key", own.key)
    other = papers.write("other.pem", papers.ours.pem)
    engine = start(server.address, authority=other, certificate=certificate, key=key)
    assert only(engine.update(registry, registry)) is Reason.ENGINE_UNAVAILABLE
    authority = papers.write("theirs.pem", papers.theirs.pem)
    engine = start(server.address, authority=authority)
    assert only(engine.update(registry, registry)) is Reason.ENGINE_UNAVAILABLE
    assert server.asked == 0


def test_a_file_that_is_not_there_is_named(start, papers: Papers) -> None:
    with pytest.raises(ConfigError, match=r"none\.pem"):
        start("localhost:1", authority=papers.folder / "none.pem")
