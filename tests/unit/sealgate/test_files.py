"""Files are read where they are regular ones, and nobody is waited for where they are not."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from sealgate.files import NotRegularFileError, open_regular_file, read_regular_file
from sealgate.reasons import Reason
from sealgate.settings import ConfigError, read_settings
from sealgate.trust.keys import read_private_file
from tests.support.builders.documents.people import refused


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


OTHERS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "socket": bind,
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "terminal": lambda path: path.symlink_to("/dev/ptmx"),
    "loop": lambda path: path.symlink_to(path),
    "link to a pipe": lambda path: (
        os.mkfifo(path.with_name("pipe")),
        path.symlink_to(path.with_name("pipe")),
    ),
}


@pytest.fixture(params=OTHERS)
def other(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # A socket's path has no more than a hundred characters.
    monkeypatch.chdir(tmp_path)
    OTHERS[request.param](Path("other"))
    return Path("other")


def test_regular_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert read_regular_file(path) == b"content"
    assert read_regular_file(path, 3) == b"con"
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read_regular_file(link) == b"content"
    with pytest.raises(NotRegularFileError):
        open_regular_file(link, follow_links=False)


def test_nothing_else_is_read(other: Path) -> None:
    with pytest.raises(NotRegularFileError, match="not a regular file"):
        read_regular_file(other)
    with pytest.raises(NotRegularFileError):
        open_regular_file(other, follow_links=False)


def test_no_descriptor_is_left(other: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(NotRegularFileError):
            open_regular_file(other)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_regular_file(tmp_path / "none")


def test_a_private_key_is_a_regular_file(other: Path) -> None:
    with refused(Reason.KEY_UNREADABLE):
        read_private_file(other)


def test_a_configuration_is_a_regular_file(other: Path) -> None:
    with pytest.raises(ConfigError, match="not a regular file"):
        read_settings(other, dict)
