"""A unix socket that others might use is refused, at both ends."""

import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.backends import open_remote_engine
from gateway.config.document import EngineSettings
from inference.backends.remote.endpoint import SocketEndpoint
from inference.backends.remote.remote_engine import RemoteEngine
from inference.server import unix_sockets
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from tests.support.builders.documents.people import refused


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "engine"
    folder.mkdir(mode=0o700)
    return folder / "engine.sock"


@pytest.fixture
def listening(path: Path) -> Iterator[Path]:
    """A socket of mode 0600 that somebody listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server, unix_sockets.private_files():
        server.bind(str(path))
        server.listen()
        yield path


def test_what_is_made_is_its_owners_alone(listening: Path) -> None:
    assert stat.S_IMODE(listening.lstat().st_mode) == 0o600
    unix_sockets.check_socket(listening)


@pytest.mark.parametrize("mode", [0o660, 0o606, 0o640, 0o602])
def test_a_socket_of_another_mode(listening: Path, mode: int) -> None:
    listening.chmod(mode)
    with refused(Reason.SOCKET_EXPOSED):
        SocketEndpoint(listening).check()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_that_others_may_write_to(listening: Path, mode: int) -> None:
    listening.parent.chmod(mode)
    with refused(Reason.SOCKET_EXPOSED):
        unix_sockets.check_socket(listening)
    with refused(Reason.SOCKET_EXPOSED):
        unix_sockets.clear_way(listening)


def test_a_socket_or_folder_of_another_user(
    listening: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with refused(Reason.SOCKET_EXPOSED):
        unix_sockets.check_folder(listening)
    with refused(Reason.SOCKET_EXPOSED):
        unix_sockets.check_socket(listening)


def test_a_socket_of_another_user_in_a_folder_of_ours(
    listening: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_sockets, "check_folder", lambda path: None)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with refused(Reason.SOCKET_EXPOSED):
        unix_sockets.check_socket(listening)


def test_what_is_no_socket(path: Path) -> None:
    path.write_bytes(b"")
    path.chmod(0o600)
    with refused(Reason.SOCKET_EXPOSED):
        unix_sockets.check_socket(path)
    with refused(Reason.SOCKET_EXPOSED):
        unix_sockets.clear_way(path)
    path.unlink()
    path.symlink_to("/dev/null")
    with refused(Reason.SOCKET_EXPOSED):
        unix_sockets.clear_way(path)


def test_what_is_not_there(path: Path) -> None:
    with refused(Reason.ENGINE_UNAVAILABLE):
        unix_sockets.check_socket(path)
    with refused(Reason.SOCKET_EXPOSED):
        unix_sockets.check_folder(path.parent / "missing" / "engine.sock")


def test_a_socket_in_use_is_left_alone(listening: Path) -> None:
    with refused(Reason.SOCKET_EXPOSED):
        unix_sockets.clear_way(listening)
    assert listening.exists()


def test_what_a_killed_engine_left_is_cleared(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server, unix_sockets.private_files():
        server.bind(str(path))
    unix_sockets.clear_way(path)
    assert not path.exists()
    unix_sockets.clear_way(path)


def test_a_gateway_does_not_start_with_an_exposed_socket(listening: Path) -> None:
    listening.chmod(0o666)
    with pytest.raises(ConfigError, match="SOCKET_EXPOSED"):
        open_remote_engine(EngineSettings(socket=listening))


def test_a_room_asks_nothing_through_an_exposed_socket(listening: Path) -> None:
    listening.chmod(0o666)
    remote = RemoteEngine(SocketEndpoint(listening))
    try:
        with refused(Reason.SOCKET_EXPOSED):
            remote.counts()
        with refused(Reason.ENGINE_UNAVAILABLE):
            remote.infer(None, None)
    finally:
        remote.close()


def test_callers_hear_only_that_the_engine_cannot_be_reached(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    remote = RemoteEngine(SocketEndpoint(tmp_path / "open" / "engine.sock"))
    request, deadline = oip.ModelInferRequest(), time.monotonic() + 60
    with (
        pytest.raises(SealgateError) as found,
        remote.streaming(request, deadline, lambda _: None) as responses,
    ):
        next(responses)
    assert found.value.reason is Reason.ENGINE_UNAVAILABLE
    with pytest.raises(SealgateError) as found:
        remote.infer(request, deadline)
    assert found.value.reason is Reason.ENGINE_UNAVAILABLE
    remote.close()
