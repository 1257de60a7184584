"""`sealgate import --name` keeps the given name."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from sealgate.cli.main import main
from training.run import import_checkpoint
from training.run.finishing import ImportDescription

pytestmark = pytest.mark.slow

_STATED = {
    "--name": "triage",
    "--use": "sorts letters",
    "--data": "letters",
    "--license": "CC0-1.0",
}


def test_an_import_keeps_the_given_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text('{"model_type": "bert"}')
    (source / "README.md").write_text("about")
    save_file({"weight": np.ones(2, np.float32)}, source / "model.safetensors")
    given: list[ImportDescription | None] = []

    def write_graphs(folder: Path, out: Path, about: ImportDescription | None) -> str:
        given.append(about)
        return "classifier"

    monkeypatch.setattr(import_checkpoint, "write_graphs", write_graphs)
    words = ["import", str(source), "--out", str(tmp_path / "copy"), "--json"]
    words += ["--graphs", str(tmp_path / "graphs"), *(w for pair in _STATED.items() for w in pair)]
    found = CliRunner().invoke(main, words)
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["family"] == "classifier"
    assert [about.name for about in given if about] == ["triage"]
