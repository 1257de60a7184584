"""A model out of MLflow's stores becomes a run's folder, within bounds."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import pytest

from publishing.ready.mlflow_download import download, store
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused

FILES = {"MLmodel": b"flavors: {}", "data/model.onnx": b"\x08\x09"}
URI = "models:/credit/3"


class StoredModel:
    """A model whose store says what it likes."""

    def __init__(
        self,
        files: Mapping[str, bytes] | None = None,
        name: str = "credit",
        stated: int | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        self.files = FILES if files is None else files
        self.name, self.source, self.metrics = name, URI, metrics or {}
        self.stated = stated

    def entries(self, folder: str) -> list[tuple[str, bool, int]]:
        inside = f"{folder}/" if folder else ""
        found: dict[str, tuple[str, bool, int]] = {}
        for path, data in self.files.items():
            if path.startswith(inside):
                first, deeper, _ = path.removeprefix(inside).partition("/")
                size = len(data) if self.stated is None else self.stated
                found[first] = (inside + first, bool(deeper), size)
        return list(found.values())

    def download(self, path: str, to: Path) -> None:
        to.write_bytes(self.files[path])


class LyingStore(StoredModel):
    """One that lists what it is told to, whatever the folder."""

    def __init__(self, listed: list[tuple[str, bool, int]]) -> None:
        super().__init__()
        self.listed = listed

    def entries(self, folder: str) -> list[tuple[str, bool, int]]:
        return self.listed


def test_it_becomes_the_folder_of_a_run(tmp_path: Path) -> None:
    name = store(StoredModel(metrics={"auc": 0.975, "val/acc": 0.5}), tmp_path)
    assert name == "credit"
    model = tmp_path / "artifacts" / "credit"
    written = {p.relative_to(model).as_posix(): p.read_bytes() for p in model.rglob("*.*nx")}
    assert written == {"data/model.onnx": b"\x08\x09"}
    assert (model / "MLmodel").read_bytes() == FILES["MLmodel"]
    assert (tmp_path / "metrics" / "auc").read_text().split()[1] == "0.975"
    assert (tmp_path / "metrics" / "val" / "acc").read_text().split()[1] == "0.5"
    assert (tmp_path / "source").read_text() == URI


@pytest.mark.parametrize("name", ["../../etc", "", ".", "a b", "/root"])
def test_a_name_that_is_no_folders_is_not_used(tmp_path: Path, name: str) -> None:
    assert store(StoredModel(name=name), tmp_path) == "model"
    assert (tmp_path / "artifacts" / "model" / "MLmodel").is_file()


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "data/../../x", "other/x", "a\0b", ""])
def test_a_path_outside_of_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    with refused(Reason.PATH_UNSAFE):
        store(LyingStore([(path, False, 1)]), tmp_path)


def test_a_metrics_name_outside_of_the_folder_is_refused(tmp_path: Path) -> None:
    with refused(Reason.PATH_UNSAFE):
        store(StoredModel(metrics={"../../x": 1.0}), tmp_path)


def test_a_model_without_files_is_refused(tmp_path: Path) -> None:
    with refused(Reason.FILE_MISSING):
        store(StoredModel({}), tmp_path)


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    listed = [(f"{at}", False, 1) for at in range(1001)]
    with refused(Reason.FILE_TOO_LARGE):
        store(LyingStore(listed), tmp_path)


def test_many_files_in_several_folders_are_refused(tmp_path: Path) -> None:
    files = {f"{folder}/{at}": b"" for folder in range(11) for at in range(100)}
    with refused(Reason.FILE_TOO_LARGE):
        store(StoredModel(files), tmp_path)


@pytest.mark.parametrize("stated", [None, 1])
def test_more_bytes_than_may_be_are_refused(tmp_path: Path, stated: int | None) -> None:
    """Also where the store says that there are fewer."""
    with refused(Reason.FILE_TOO_LARGE):
        store(StoredModel({"a": b"12345", "b": b"123456"}, stated=stated), tmp_path, most=10)
    # The process may write larger files again.
    (tmp_path / "later").write_bytes(b"0" * 100)


@pytest.mark.parametrize(
    ("client", "seconds", "reason"),
    [
        ("import time; time.sleep(600)", 1, Reason.WORKER_LIMIT),
        ("import os; os._exit(3)", 60, Reason.WORKER_FAILED),
        ("raise ValueError('no store')", 60, Reason.FILE_MISSING),
    ],
)
def test_a_client_that_gives_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: str, seconds: int, reason: Reason
) -> None:
    (tmp_path / "mlflow.py").write_text(client)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with refused(reason):
        download(URI, tmp_path, seconds)


def test_a_uri_without_mlflows_client_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("mlflow") is not None:
        pytest.skip("MLflow's client is installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with refused(Reason.FORMAT_REFUSED) as found:
        download(URI, tmp_path, 60)
    assert "sealgate[mlflow]" in found.value.detail
