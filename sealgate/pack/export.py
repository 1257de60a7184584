"""The auditor's pack: one folder that other people's programs check, with none of ours.

Everything is checked while it is fetched, from the pinned root keys on: whoever exports trusts the
gateway no more than whoever gets the pack. What is in it, its README says.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.resources import files
from pathlib import Path

import grpc

from sealgate.audit import Auditor
from sealgate.pack.documents import Documents, Record
from sealgate.pack.folder import Writer, new_folder
from sealgate.pack.tile_folder import TileFolder
from sealgate.reasons import Reason, Refusal
from sealgate.trust import canonical
from sealgate.trust.checkpoint import open_checkpoint
from sealgate.trust.policy import Policy
from sealgate.trust.times import format_time
from sealgate.v1.audit_pb2 import StreamRecordsRequest
from sealgate.v1.audit_pb2_grpc import AuditServiceStub
from sealgate.v1.log_pb2 import GetCheckpointRequest
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

TYPE = "sealgate/pack/v1"
Progress = Callable[[str, int, int], None]
_PLAIN = re.compile(r"[^A-Za-z0-9-]+")


@dataclass(frozen=True, slots=True)
class Pack:
    """What was exported: how many files there are, and the entries of each log by its folder."""

    files: int
    logs: dict[str, int]
    models: tuple[str, ...]


def log_folder(origin: str) -> str:
    """Return the folder's name for a log: its origin in letters, digits, and `_` for the rest."""
    return _PLAIN.sub("_", origin).strip("_") or "log"


def export_pack(
    channel: grpc.Channel,
    policies: Sequence[Policy],
    place: Path,
    now: datetime,
    *,
    models: Collection[str] = (),
    with_files: bool = True,
    progress: Progress = lambda what, done, total: None,
) -> Pack:
    """Write the pack of these models, or of all, to the new folder `place`.

    `policies` are the chain from the pinned root keys, oldest first.

    1. Every log behind the gateway is one that they name, and its entries lead to its checkpoint.
    2. Each document is what the registry's log recorded, and signed by whom it names; the files of
       versions are those that were signed.

    `progress` is told what is being written, and how much of how much of it is there. Raises
    Refusal: MODEL_UNKNOWN for a model that the log does not know, reasons of `TileFolder.grow` and
    `Documents.write`; FileExistsError. No folder is left then.
    """
    registry = RegistryServiceStub(channel)
    with new_folder(place, progress) as writer:
        # 1. and 2.
        documents = Documents(policies, models, writer)
        logs = _write_logs(channel, policies[-1], documents, writer, progress)
        for model in sorted(set(models) - documents.models):
            raise Refusal(Reason.MODEL_UNKNOWN, model)
        if with_files:
            _write_files(registry, documents, writer)
        _write_keys(policies, writer)
        _write_instructions(writer)
        exported = tuple(sorted(documents.models))
        _write_label(writer, format_time(now), exported, with_files, logs)
        return Pack(writer.write_sums(), logs, exported)


def _write_logs(
    channel: grpc.Channel, policy: Policy, documents: Documents, writer: Writer, progress: Progress
) -> dict[str, int]:
    sizes: dict[str, int] = {}
    auditor = Auditor(channel, policy)
    # The registry's first, so that no anchor in it is ahead of the log that it is of.
    for origin in sorted(auditor.origins(), key=policy.is_answer_log):
        name, vkey = log_folder(origin), policy.log_key(origin)
        if name in sizes:
            raise Refusal(Reason.LOG_UNKNOWN, f"two logs that would have the folder {name}")
        note = auditor.logs.GetCheckpoint(GetCheckpointRequest(origin=origin)).note
        size = open_checkpoint(note, vkey).size
        groups = (
            auditor.entries(origin, size)
            if policy.is_answer_log(origin)
            else _records(channel, size, documents)
        )
        TileFolder(writer.folder / "logs" / name, vkey).grow(
            note, groups, partial(progress, f"logs/{name}")
        )
        # A log that signs with ML-DSA as well has a second key, after a blank.
        lines = "".join(f"{key}\n" for key in vkey.split(" "))
        writer.write(Path("keys", "logs", f"{name}.vkey"), lines.encode())
        sizes[name] = size
    return sizes


def _records(channel: grpc.Channel, size: int, documents: Documents) -> Iterator[list[bytes]]:
    """The leaves of the registry's log, whose documents are written as they pass."""
    request = StreamRecordsRequest(start=0, end=size)
    for part in AuditServiceStub(channel).StreamRecords(request):
        for entry in part.entries:
            documents.write(Record.of(entry))
        yield [entry.leaf for entry in part.entries]


def _write_files(registry: RegistryServiceStub, documents: Documents, writer: Writer) -> None:
    for signed in documents.versions:
        for file in signed.manifest.files:
            chunks = signed.chunks(registry, file)
            writer.stream(Path(signed.name, "files", file.path), chunks, file.size)


def _write_keys(policies: Sequence[Policy], writer: Writer) -> None:
    keys = {keyid: key for policy in policies for keyid, key in policy.keys.items()}
    for keyid, key in keys.items():
        writer.write(Path("keys", f"{keyid}.pem"), key.pem.encode())


def _write_instructions(writer: Writer) -> None:
    checks = files("sealgate.pack") / "check"
    for resource in sorted(checks.iterdir(), key=lambda item: item.name):
        if resource.is_file():
            home = Path() if resource.name == "README.md" else Path("check")
            writer.write(home / resource.name, resource.read_bytes())


def _write_label(
    writer: Writer, created: str, models: Sequence[str], with_files: bool, logs: dict[str, int]
) -> None:
    label = {
        "type": TYPE,
        "created": created,
        "models": list(models),
        "files": with_files,
        "logs": logs,
    }
    writer.write(Path("pack.json"), canonical.encode(label))
