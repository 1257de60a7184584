"""The section `[generator]`: our own process, or a server of OpenAI's protocol."""

from pathlib import Path
from typing import Any

import pytest

from gateway.backends import open_generators
from gateway.config.document import GeneratorSettings
from inference.backends.openai.generator import OpenAiEngine
from sealgate.settings import ConfigError
from sealgate.trust.keys import write_private_file

URL = "https://models.example/v1"


def settings(**changes: Any) -> GeneratorSettings:
    return GeneratorSettings(**{"kind": "openai", "url": URL, **changes})


def test_by_default_nothing_generates() -> None:
    assert open_generators(GeneratorSettings()) is None


def test_a_server_needs_tls_beyond_this_machine() -> None:
    assert settings().server().context is not None
    assert settings(url="http://127.0.0.1:8000/v1/").server().base.path == "/v1"
    assert settings(url="http://127.0.0.1:8000/v1").server().context is None
    assert isinstance(open_generators(settings()), OpenAiEngine)


def test_its_key_comes_from_a_private_file_and_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private_file(path, b"sk-secret\n")
    server = settings(key=path).server()
    assert server.key == "sk-secret"
    assert "sk-secret" not in repr(server)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="KEY_FILE_EXPOSED"):
        settings(key=path).server()


@pytest.mark.parametrize("content", [b"two words", b"line\nline", b"\xff"])
def test_keys_that_are_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    write_private_file(path, content)
    with pytest.raises(ConfigError, match="generator"):
        settings(key=path).server()


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "vllm"},
        {"kind": ""},
        {"url": ""},
        {"url": "http://models.example/v1"},
        {"url": "https://user:word@models.example/v1"},
        {"url": f"{URL}?x=1"},
        {"url": "models.example"},
        {"socket": Path("engine.sock")},
        {"model": "{version.real}"},
        {"model": "{0}"},
        {"model": ""},
        {"name": "Not a name"},
        {"kind": "", "url": "", "key": Path("key")},
    ],
)
def test_what_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        settings(**changes)
