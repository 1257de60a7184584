"""`sealgate import`: which folder is meant, and what is taken for a checkpoint."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from publishing.cli.imports import imports, model_of_hub, model_of_run
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused


def written(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def test_a_run_of_mlflows_with_one_model_names_that(tmp_path: Path) -> None:
    run = written(tmp_path / "run", "artifacts/credit/MLmodel", "metrics/auc")
    model = run / "artifacts" / "credit"
    assert model_of_run(run) == model_of_run(model) == model
    written(run, "artifacts/other/MLmodel")
    for folder in (run, tmp_path):
        with refused(Reason.FORMAT_REFUSED):
            model_of_run(folder)


def test_a_logged_model_of_mlflows_names_its_files(tmp_path: Path) -> None:
    logged = written(tmp_path / "m-3f2a", "artifacts/MLmodel", "meta.yaml")
    assert model_of_run(logged) == logged / "artifacts"
    rows = written(tmp_path, "rows.safetensors") / "rows.safetensors"
    for place in (str(logged), (logged / "artifacts").as_uri()):
        told = CliRunner().invoke(imports, ["mlflow", place, "--data", str(rows)])
        assert told.exit_code == 2, told.output
        assert "--name names the model" in told.output


def test_a_uri_needs_a_tracking_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = written(tmp_path, "rows.safetensors") / "rows.safetensors"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    words = ["mlflow", "models:/credit/1", "--data", str(rows)]
    told = CliRunner().invoke(imports, words)
    assert told.exit_code == 1
    assert Reason.PARAMETER_MALFORMED.name in told.output
    assert "MLFLOW_TRACKING_URI names the tracking store" in told.output


def test_a_folder_of_hugging_faces_has_its_configuration(tmp_path: Path) -> None:
    with refused(Reason.FORMAT_REFUSED):
        model_of_hub(tmp_path)
    assert model_of_hub(written(tmp_path, "config.json")) == tmp_path


@pytest.mark.parametrize("words", [("PATH", "--out", "COPY"), ("--out", "COPY", "PATH")])
def test_a_path_alone_is_a_checkpoints(tmp_path: Path, words: tuple[str, ...]) -> None:
    places = {"PATH": str(tmp_path / "nowhere"), "COPY": str(tmp_path / "copy")}
    found = CliRunner().invoke(imports, [places.get(word, word) for word in words])
    assert found.exit_code == 1
    assert Reason.FILE_MISSING.name in found.output


def test_without_words_it_says_what_there_is() -> None:
    told = CliRunner().invoke(imports, []).output
    for name in ("checkpoint", "huggingface", "mlflow"):
        assert f"  {name} " in told
