"""An artifact store that cannot be used is named with what to change."""

import sys
from pathlib import Path

import pytest

import registry
from gateway.config.opening import open_artifacts
from gateway.config.sections import RegistryStore
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from tests.support.oracles import programs


def said_of(place: Path | str, endpoint: str = "") -> str:
    """Return the error's text for a place that cannot be used."""
    paths = (Path("log.key"), Path("freshness.key"), Path("uploads"))
    region = "us-east-1" if endpoint else ""
    store = RegistryStore(Path("r.db"), place, "example/registry", *paths, endpoint, region)
    with pytest.raises(ConfigError) as caught:
        open_artifacts(store)
    cause = caught.value.__cause__
    assert isinstance(cause, SealgateError)
    assert cause.reason is Reason.REGISTRY_UNAVAILABLE
    assert "[registry] artifacts = " in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_in_the_folder_s_place(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_bytes(b"")
    assert "may write there" in said_of(tmp_path / "artifacts")


def test_a_service_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    programs.package("obstore")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "sealgate")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    text = said_of("s3://models/v1", "http://127.0.0.1:9")
    assert "artifacts_endpoint" in text
    assert "hunter2" not in text


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "registry.storage.artifact_bucket", raising=False)
    monkeypatch.delattr(registry, "artifact_bucket", raising=False)
    monkeypatch.setitem(sys.modules, "obstore", None)
    assert "pip install 'sealgate[s3]'" in said_of("s3://models/v1", "http://127.0.0.1:9")
