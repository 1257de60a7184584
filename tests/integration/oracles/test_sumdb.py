"""Checkpoints, proofs and tiles, checked by Go's `golang.org/x/mod/sumdb`."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from sealgate.trust.transparency import Checkpoint, merkle, note, open_checkpoint, sign_checkpoint
from sealgate.trust.transparency.ml_dsa import MlDsaKey, PairedSigner
from sealgate.trust.transparency.tiles import Frontier, consistency_proof, inclusion_proof
from tests.support.builders.documents.people import key
from tests.support.fakes.tile_store import TileStore
from tests.support.oracles import programs

ORIGIN = "example.org/log"
SIZES = (1, 2, 3, 255, 256, 257, 511, 512, 700, 66000)


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program, built from source against Debian's copy of the packages."""
    go = programs.program("go")
    root = programs.go_package("golang.org/x/mod/sumdb/tlog")
    program = tmp_path_factory.mktemp("sumdb") / "sumdb"
    source = Path(__file__).parent / "sumdb" / "main.go"
    environment = {**os.environ, "GO111MODULE": "off", "GOFLAGS": "", "GOPATH": str(root)}
    result = programs.run([go, "build", "-o", program, source], environment=environment)
    assert result.returncode == 0, result.stderr
    return program


def encode(hashes: list[bytes]) -> list[str]:
    return [base64.b64encode(item).decode() for item in hashes]


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    """The tiles, checkpoints and proofs of a log that has grown through SIZES."""
    entries = [b"entry %d" % number for number in range(SIZES[-1])]
    store, frontier, tiles = TileStore(), Frontier.empty(), {}
    checkpoints, inclusion, consistency = [], [], []
    for size in SIZES:
        grown = frontier.append([merkle.leaf_hash(e) for e in entries[frontier.size : size]])
        store.put(grown.tiles)
        tiles.update({tile.path: base64.b64encode(tile.hashes).decode() for tile in grown.tiles})
        checkpoints.append(sign_checkpoint(Checkpoint(ORIGIN, size, grown.root), key("log")))
        for index in {frontier.size, (frontier.size + size) // 2, size - 1}:
            proof = encode(grown.inclusion_proof(index))
            inclusion.append({"Index": index, "Size": size, "Proof": proof})
        for index in {0, size // 2, size - 1}:
            proof = encode(inclusion_proof(store, index, size))
            inclusion.append({"Index": index, "Size": size, "Proof": proof})
        for old in SIZES[: SIZES.index(size) + 1]:
            proof = encode(consistency_proof(store, old, size))
            consistency.append({"Old": old, "New": size, "Proof": proof})
        frontier = grown
    return {
        "VerifierKey": note.vkey(ORIGIN, key("log").public),
        "Origin": ORIGIN,
        "Entries": encode(entries),
        "Checkpoints": checkpoints,
        "Inclusion": inclusion,
        "Consistency": consistency,
        "Tiles": tiles,
    }


def verdict(checker: Path, log: dict[str, Any]) -> tuple[int, str]:
    result = programs.run([checker], json.dumps(log))
    return result.returncode, result.stdout + result.stderr


def test_sumdb_accepts_our_log(checker: Path, published: dict[str, Any]) -> None:
    assert verdict(checker, published) == (0, "all holds\n")


def test_sumdb_reads_checkpoints_with_ml_dsa_beside(
    checker: Path, published: dict[str, Any]
) -> None:
    """It knows Ed25519 alone, and passes over the other line."""
    pair = PairedSigner(key("log"), MlDsaKey.generate())
    paired = [
        sign_checkpoint(open_checkpoint(text, published["VerifierKey"]), pair)
        for text in published["Checkpoints"]
    ]
    assert verdict(checker, {**published, "Checkpoints": paired}) == (0, "all holds\n")


def test_sumdb_refuses_altered_logs(checker: Path, published: dict[str, Any]) -> None:
    """Shows that the checks of the program can fail."""
    zero = base64.b64encode(bytes(32)).decode()
    proof = published["Inclusion"][-1]
    growth = published["Consistency"][-2]
    note_of_7 = published["Checkpoints"][0].replace("\n1\n", "\n7\n")
    alterations = {
        "Checkpoints": [note_of_7],
        "Inclusion": [{**proof, "Proof": [zero, *proof["Proof"][1:]]}],
        "Consistency": [{**growth, "Proof": [zero, *growth["Proof"][1:]]}],
        "Tiles": {**published["Tiles"], "tile/2/000.p/1": zero},
        "VerifierKey": note.vkey(ORIGIN, key("mallory").public),
    }
    for name, value in alterations.items():
        status, output = verdict(checker, {**published, name: value})
        assert status == 1, (name, output)
