"""Logs as static files: written anew or grown, the same; and never over another log's."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from sealgate.pack.documents import SUMS, new_folder
from sealgate.pack.tile_folder import TileFolder, entries_path
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.transparency import Checkpoint, merkle, note, sign_checkpoint
from sealgate.trust.transparency.tiles import inclusion_proof
from tests.support.builders.documents.people import key

ORIGIN = "example.org/log"
VKEY = note.vkey(ORIGIN, key("log").public)
SIZES = (1, 255, 256, 257, 600, 66_000)
LEAVES = [b"entry %d" % number for number in range(SIZES[-1])]


def signed(leaves: Sequence[bytes]) -> str:
    root = merkle.root([merkle.leaf_hash(leaf) for leaf in leaves])
    return sign_checkpoint(Checkpoint(ORIGIN, len(leaves), root), key("log"))


def grown(folder: Path, leaves: Sequence[bytes], group: int = 1000) -> TileFolder:
    kept = TileFolder(folder, VKEY)
    new = leaves[kept.size :]
    kept.grow(signed(leaves), iter([new[at : at + group] for at in range(0, len(new), group)]))
    return kept


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_that_grew_is_as_one_written_anew(tmp_path: Path) -> None:
    for size in SIZES:
        grown(tmp_path / "grown", LEAVES[:size])
        grown(tmp_path / f"anew-{size}", LEAVES[:size], group=7)
        anew = contents(tmp_path / f"anew-{size}")
        there = contents(tmp_path / "grown")
        # Partial tiles remain until their tile is full.
        assert anew.items() <= there.items()
        assert all(".p/" in path for path in there.keys() - anew.keys())
    assert "tile/entries/000" in there
    assert not [path for path in there if path.startswith("tile/entries/000.p")]
    assert not [path for path in there if path.endswith(".new")]


def test_proofs_are_made_from_the_files(tmp_path: Path) -> None:
    kept = grown(tmp_path, LEAVES[:600])
    leaf, root = merkle.leaf_hash(LEAVES[17]), merkle.root([*map(merkle.leaf_hash, LEAVES[:600])])
    proof = inclusion_proof(TileFolder(tmp_path, VKEY), 17, 600)
    merkle.verify_inclusion(leaf, 17, kept.size, proof, root)


def test_nothing_new_changes_nothing(tmp_path: Path) -> None:
    grown(tmp_path, LEAVES[:300])
    before = contents(tmp_path)
    grown(tmp_path, LEAVES[:300])
    assert contents(tmp_path) == before


def test_an_empty_log_has_a_checkpoint_alone(tmp_path: Path) -> None:
    grown(tmp_path, [])
    assert contents(tmp_path).keys() == {"checkpoint"}
    assert grown(tmp_path, LEAVES[:2]).size == 2


@pytest.mark.parametrize(
    "other",
    [[b"other", *LEAVES[1:400]], LEAVES[:200], [*LEAVES[:299], b"other"]],
    ids=["forked", "shrunk", "the last replaced"],
)
def test_a_log_that_did_not_only_grow_is_refused(tmp_path: Path, other: list[bytes]) -> None:
    grown(tmp_path, LEAVES[:300])
    before = contents(tmp_path)
    kept = TileFolder(tmp_path, VKEY)
    with pytest.raises(SealgateError) as caught:
        kept.grow(signed(other), iter([other[300:]]))
    assert caught.value.reason is Reason.LOG_INCONSISTENT
    assert before.items() <= contents(tmp_path).items()


def test_entries_that_do_not_lead_to_the_root_are_refused(tmp_path: Path) -> None:
    kept = TileFolder(tmp_path, VKEY)
    with pytest.raises(SealgateError) as caught:
        kept.grow(signed(LEAVES[:10]), iter([[*LEAVES[:9], b"other"]]))
    assert caught.value.reason is Reason.LOG_INCONSISTENT
    assert not (tmp_path / "checkpoint").exists()


def test_a_checkpoint_by_another_key_is_refused(tmp_path: Path) -> None:
    root = merkle.root([merkle.leaf_hash(LEAVES[0])])
    forged = sign_checkpoint(Checkpoint(ORIGIN, 1, root), key("mallory"))
    with pytest.raises(SealgateError) as caught:
        TileFolder(tmp_path, VKEY).grow(forged, iter([LEAVES[:1]]))
    assert caught.value.reason is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize("path", ["tile/0/001.p/44", "tile/1/000.p/1", entries_path(1, 44)])
def test_files_that_were_altered_are_not_built_upon(tmp_path: Path, path: str) -> None:
    grown(tmp_path, LEAVES[:300])
    data = (tmp_path / path).read_bytes()
    (tmp_path / path).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(SealgateError) as caught:
        TileFolder(tmp_path, VKEY)
    assert caught.value.reason is Reason.LOG_INCONSISTENT


def silent(what: str, done: int, total: int) -> None:
    pass


def test_a_folder_is_there_whole(tmp_path: Path) -> None:
    with new_folder(tmp_path / "pack", silent) as writer:
        writer.write(Path("a", "b"), b"text")
        assert not (tmp_path / "pack").exists()
        assert writer.write_sums() == 1
    assert contents(tmp_path / "pack").keys() == {"a/b", SUMS}
    assert list(tmp_path.iterdir()) == [tmp_path / "pack"]


def write_and_fail(place: Path, failure: type[BaseException]) -> None:
    with new_folder(place, silent) as writer:
        writer.write(Path("a"), b"text")
        raise failure


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_or_not_at_all(tmp_path: Path, failure: type[BaseException]) -> None:
    with pytest.raises(failure):
        write_and_fail(tmp_path / "pack", failure)
    assert list(tmp_path.iterdir()) == []


def write_twice(place: Path) -> None:
    with new_folder(place, silent) as writer:
        writer.write(Path("a"), b"one")
        writer.write(Path("a"), b"two")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        write_twice(tmp_path / "new")
    (tmp_path / "pack").mkdir()
    with pytest.raises(FileExistsError):
        write_twice(tmp_path / "pack")
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]
