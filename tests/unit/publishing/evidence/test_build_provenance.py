"""Provenance of the publishing: what it names, held against the attestation library of in-toto."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import onnxruntime
import pytest

from publishing.evidence.signing import BuildRecord, build_provenance
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256
from sealgate.trust.statements import Manifest
from tests.support.builders.models.demo_models import DEMO
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles
from tests.support.oracles.programs import python_with, run

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
MANIFEST = Manifest.of({"model.json": b"{}", "model.int8.onnx": b"weights"})
COMMITMENT = sha256(b"a key")
SOURCE = SourceFolder.read(DEMO / "models" / "digits-standard")
DATA = Dataset.read(DEMO / "data" / "digits.safetensors")

# Reads a statement from its input, strictly: an unknown field is an error.
READER = """
import sys, json
from google.protobuf.json_format import ParseDict
from in_toto_attestation.v1.statement_pb2 import Statement
from in_toto_attestation.v1.statement import Statement as Checked
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
document = json.load(sys.stdin)
checked = Checked.copy_from_pb(ParseDict(document, Statement()))
checked.validate()
predicate = ParseDict(document["predicate"], Provenance())
print(checked.pb.predicate_type, len(predicate.build_definition.resolved_dependencies))
"""


@pytest.fixture(scope="module")
def statement() -> dict[str, Any]:
    made = BuildRecord(SOURCE, DATA, COMMITMENT, 1, "publisher", NOW)
    return build_provenance(made, MANIFEST)


def named(statement: dict[str, Any]) -> dict[str, Any]:
    listed = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    return {item["name"]: item for item in listed}


def test_it_names_what_went_in_and_what_came_out(statement: dict[str, Any]) -> None:
    digests = {each["name"]: "sha256:" + each["digest"]["sha256"] for each in statement["subject"]}
    assert digests == {entry.path: entry.digest for entry in MANIFEST.files}
    found = named(statement)
    assert found["serving.onnx"]["digest"]["sha256"] == sha256(SOURCE.serving)[7:]
    assert found["response.onnx"]["digest"]["sha256"] == sha256(SOURCE.response)[7:]
    assert found["data"]["digest"]["sha256"] == DATA.digest[7:]
    assert found["onnxruntime"]["uri"] == f"pkg:pypi/onnxruntime@{onnxruntime.__version__}"
    settings = statement["predicate"]["buildDefinition"]["externalParameters"]
    assert settings == {"seed": 1, "watermarkCommitment": COMMITMENT}
    assert "tokenizer.json" not in found


def test_a_text_models_tokenizer_is_named() -> None:
    texts = SourceFolder(SOURCE.config, SOURCE.serving, SOURCE.response, b"{}")
    made = BuildRecord(texts, DATA, COMMITMENT, 1, "publisher", NOW)
    assert (
        named(build_provenance(made, MANIFEST))["tokenizer.json"]["digest"]["sha256"]
        == sha256(b"{}")[7:]
    )


def test_what_a_recalibration_stands_on_is_named() -> None:
    earlier = VersionFiles.of(Perceptron.random()).detector
    traffic = np.ones((3, earlier.width), np.float32)
    anew = replace(DATA, traffic=traffic, vectors=4, earlier=earlier)
    found = named(
        build_provenance(BuildRecord(SOURCE, anew, COMMITMENT, 1, "publisher", NOW), MANIFEST)
    )
    assert found["traffic"]["digest"]["sha256"] == sha256(traffic.tobytes())[7:]
    # The manifest of the version before names the same.
    assert found["earlier detector.json"]["digest"]["sha256"] == sha256(earlier.encode())[7:]


def test_in_totos_library_reads_it(statement: dict[str, Any]) -> None:
    python = python_with("in_toto_attestation")
    done = run([python, "-c", READER], canonical.encode(statement).decode())
    assert done.stdout.split() == ["https://slsa.dev/provenance/v1", "8"], done.stderr


@pytest.mark.parametrize("spoiled", ["subject", "surplus"])
def test_in_totos_library_would_have_noticed(statement: dict[str, Any], spoiled: str) -> None:
    broken = json.loads(canonical.encode(statement))
    if spoiled == "subject":
        broken["subject"] = []
    else:
        broken["predicate"]["surplus"] = 1
    done = run([python_with("in_toto_attestation"), "-c", READER], json.dumps(broken))
    assert done.returncode != 0
