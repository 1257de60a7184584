"""Both ends' configuration: what cannot be used says what to change."""

from pathlib import Path

import pytest

from gateway.backends import build
from gateway.config.document import EngineSettings
from inference.server.config import EngineConfig
from sealgate.settings import ConfigError
from tests.support.builders.documents.people import key

CONFIG = """\
[listen]
socket = "run/engine.sock"
[trust]
root_keys = ["root.pem"]
threshold = 1
seen = "run/seen.json"
[artifacts]
place = "artifacts"
[engine]
name = "engine"
key = "engine.key"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "root.pem").write_text(key("root").public.pem)
    (tmp_path / "engine.key").write_bytes(key("engine").to_pem())
    (tmp_path / "engine.key").chmod(0o600)
    (tmp_path / "engine.toml").write_text(CONFIG)
    return tmp_path / "engine.toml"


def test_paths_start_at_its_folder(path: Path) -> None:
    config = EngineConfig.read(path)
    assert config.listen.socket == path.parent / "run" / "engine.sock"
    server = build(config)
    server.start()
    server.stop()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('socket = "run/engine.sock"', "", "needs one of socket"),
        ('socket = "run/engine.sock"', 'socket = "a"\ntls = "h:1"', "needs one of socket"),
        ('socket = "run/engine.sock"', 'tls = "somewhere"', "not of the form host:port"),
        ('socket = "run/engine.sock"', 'tls = "127.0.0.1:0"', "certificate, key and gateways"),
        ("run/engine.sock", "r" * 120, "longer than 107"),
        ("threshold = 1", "threshold = 2", "threshold must lie"),
        ('"artifacts"', '"s3://b"', "place"),
        ('name = "engine"', 'name = "engine"\ntoken = "t"', "no setting 'token'"),
        ("[engine]", "[registry]\n[engine]", "unknown section"),
    ],
)
def test_what_cannot_be_used(path: Path, before: str, after: str, words: str) -> None:
    path.write_text(CONFIG.replace(before, after, 1))
    with pytest.raises(ConfigError, match=words):
        EngineConfig.read(path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "artifacts").rmdir(), "no such folder"),
        (lambda folder: (folder / "run").chmod(0o777), "SOCKET_EXPOSED"),
        (lambda folder: (folder / "engine.key").chmod(0o644), "KEY_FILE_EXPOSED"),
        (lambda folder: (folder / "root.pem").unlink(), "cannot read"),
        (lambda folder: (folder / "run" / "seen.json").write_bytes(b"{"), "DOCUMENT_MALFORMED"),
        (lambda folder: (folder / "run" / "engine.sock").write_bytes(b""), "SOCKET_EXPOSED"),
    ],
    ids=["artifacts", "folder", "key", "root", "seen", "socket"],
)
def test_an_engine_that_does_not_start(path: Path, spoil, words: str) -> None:
    spoil(path.parent)
    with pytest.raises(ConfigError, match=words):
        build(EngineConfig.read(path))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"socket": Path("a"), "address": "h:1"}, "not both"),
        ({"address": "h:1"}, "needs certificate"),
        ({"certificate": Path("a")}, "no address"),
        ({"socket": Path("/" + "a" * 120)}, "longer than 107"),
        (
            {
                "address": "h",
                "certificate": Path("a"),
                "client_certificate": Path("b"),
                "client_key": Path("c"),
            },
            "host:port",
        ),
    ],
)
def test_a_gateways_section(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EngineSettings(**settings)
