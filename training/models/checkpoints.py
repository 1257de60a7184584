"""Imports checkpoints in Hugging Face's layout as a private, hashed copy.

1. Weights are safetensors, and everything else is JSON or a word list. Pickles can run code when
   they are read, so they are never read.
2. No code is imported: a configuration that names some (`auto_map`) is refused.
3. The copy is hashed while it is made, links are not followed, and every later load is checked
   against those hashes.
"""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import SafetensorError, safe_open

from inference.llm.terms import CONFIG, INDEX, WEIGHTS
from publishing.source.folder import read_plain_file
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.canonical import check_digest, sha256
from training.data import made_whole, storing, write_whole

RECORD = "imported.json"
_TYPE = "sealgate/imported/v1"
_BESIDE = (
    CONFIG,
    INDEX,
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
_PICKLES = (
    *(".bin", ".ckpt", ".h5", ".joblib", ".msgpack", ".npy", ".npz", ".pickle", ".pkl"),
    *(".pt", ".pth"),
)
_HUB_NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


@dataclass(frozen=True, slots=True)
class ImportedCheckpoint:
    """A folder that was taken in: the digest of each file by name, and of all of them."""

    origin: str
    files: Mapping[str, str]
    ignored: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return sha256(canonical.encode(dict(self.files)))


def take_in(source: Path, target: Path, origin: str = "") -> ImportedCheckpoint:
    """Copy what is safe of `source` to `target`, which must be new; whole or not at all.

    Raises: FILE_MISSING, PATH_UNSAFE, FILE_TOO_LARGE, CHECKPOINT_REFUSED, STORAGE_FULL;
    RUN_FOREIGN where `target` is there.
    """
    if target.exists():
        raise SealgateError(Reason.RUN_FOREIGN, f"{target} exists")
    names = _names(source)
    wanted = [name for name in names if name in _BESIDE or WEIGHTS.fullmatch(name)]
    if not any(WEIGHTS.fullmatch(name) for name in wanted):
        raise _refused(_without_weights(names))
    if CONFIG not in wanted:
        raise _refused(f"{source} has no {CONFIG}")
    digests: dict[str, str] = {}
    found = ImportedCheckpoint(
        origin or source.name, digests, tuple(name for name in names if name not in wanted)
    )
    with made_whole(target, 0o700) as aside:
        for name in wanted:
            data = read_plain_file(source / name)
            _check(name, data)
            write_whole(aside / name, data)
            digests[name] = sha256(data)
        _check_weights(aside, found)
        record = {"type": _TYPE, "origin": found.origin, "files": digests}
        write_whole(aside / RECORD, canonical.encode(record))
    return found


def read_imported(folder: Path) -> ImportedCheckpoint:
    """The record of a folder that was taken in, each file held against its hash.

    Raises: FILE_MISSING, DOCUMENT_MALFORMED, DIGEST_MISMATCH, FILE_SURPLUS.
    """
    record = canonical.decode(read_plain_file(folder / RECORD))
    top = fields.record(record, ("origin", "files"), _TYPE)
    files = {}
    for name, digest in fields.mapping(top["files"]).items():
        check_digest(digest)
        if sha256(read_plain_file(folder / name)) != digest:
            raise SealgateError(Reason.DIGEST_MISMATCH, f"{name} was changed since it was imported")
        files[name] = digest
    surplus = sorted({entry.name for entry in folder.iterdir()} - files.keys() - {RECORD})
    if surplus:
        raise SealgateError(Reason.FILE_SURPLUS, f"{surplus[0]} was not imported")
    return ImportedCheckpoint(fields.text(top["origin"]), files)


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a folder that was taken in. Raises what `read_imported` raises."""
    read_imported(folder)
    value: dict[str, Any] = json.loads(read_plain_file(folder / CONFIG))
    return value


def fetch(name: str, target: Path) -> ImportedCheckpoint:
    """Take in what a model hub has under `owner/name`.

    Raises FILE_MISSING without a network, and what `take_in` raises.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if target.exists():
        raise SealgateError(Reason.RUN_FOREIGN, f"{target} exists")
    patterns = [*_BESIDE, "model*.safetensors"]
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
        aside = Path(folder)
        try:
            with storing():
                snapshot_download(name, local_dir=aside, allow_patterns=patterns)
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            detail = (
                f"{name} is not a folder here, and the hub does not answer: is there a network?"
            )
            raise SealgateError(Reason.FILE_MISSING, detail) from error
        shutil.rmtree(aside / ".cache", ignore_errors=True)
        return take_in(aside, target, name)


def is_hub_name(text: str) -> bool:
    """Whether this may be a hub's name, and is no folder here."""
    return _HUB_NAME.fullmatch(text) is not None and not Path(text).exists()


def _names(source: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in source.iterdir() if not entry.is_dir())
    except OSError as error:
        raise SealgateError(Reason.FILE_MISSING, f"{source}: {error.strerror}") from error


def _without_weights(names: list[str]) -> str:
    pickled = [name for name in names if name.lower().endswith(_PICKLES)]
    if not pickled:
        return "there is no model.safetensors"
    return (
        f"{pickled[0]} may hold pickled code, which is never read here; where it is trusted, load "
        "it with transformers on a machine without keys, call save_pretrained (which writes "
        "safetensors), and import that folder"
    )


def _check(name: str, data: bytes) -> None:
    if not name.endswith(".json"):
        return
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _refused(f"{name} is not JSON") from error
    if not isinstance(value, dict) or (name == CONFIG and "model_type" not in value):
        raise _refused(f"{name} is not a configuration of transformers")
    if "auto_map" in value or value.get("trust_remote_code"):
        raise _refused(f"{name} asks for code of its own, which never runs here")


def _check_weights(folder: Path, found: ImportedCheckpoint) -> None:
    """Every file opens, no tensor stands in two of them, and with an index, which several files
    need, they hold what that says, no more and no less.
    """
    held: dict[str, str] = {}
    weights = [name for name in found.files if name.endswith(".safetensors")]
    for name in weights:
        try:
            with safe_open(folder / name, framework="numpy") as tensors:
                keys = tensors.keys()
        except SafetensorError as error:
            raise _refused(f"{name} is not safetensors") from error
        if twice := sorted(held.keys() & set(keys)):
            raise _refused(f"{twice[0]} stands in {held[twice[0]]} and in {name}")
        held |= dict.fromkeys(keys, name)
    if len(weights) > 1 and INDEX not in found.files:
        raise _refused(f"several files of weights, and no {INDEX}")
    if INDEX in found.files:
        stated = json.loads((folder / INDEX).read_bytes()).get("weight_map")
        if stated != held:
            raise _refused(f"the tensors are not those that {INDEX} lists")


def _refused(detail: str) -> SealgateError:
    return SealgateError(Reason.CHECKPOINT_REFUSED, detail)
