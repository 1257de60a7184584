"""Writes the auditor's pack: a folder that programs other than Sealgate can check.

Everything is verified while it is fetched, from the pinned root keys on, so neither the exporter
nor the receiver of the pack has to trust the gateway. The pack's README describes its content.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.resources import files
from pathlib import Path

import grpc

from sealgate.audit import (
    AnswerLogHistory,
    Auditor,
    Claim,
    kept_stamps,
    last_anchor,
    log_keys,
    named_logs,
)
from sealgate.pack.documents import Documents, FolderWriter, PackRecord, new_folder
from sealgate.pack.tile_folder import TileFolder
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.policy import Policy
from sealgate.trust.times import format_time
from sealgate.trust.transparency import current_vkey, open_checkpoint
from sealgate.v1.audit_pb2 import StreamRecordsRequest
from sealgate.v1.audit_pb2_grpc import AuditServiceStub
from sealgate.v1.log_pb2 import GetCheckpointRequest
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

TYPE = "sealgate/pack/v1"
Progress = Callable[[str, int, int], None]
_PLAIN = re.compile(r"[^A-Za-z0-9-]+")


@dataclass(frozen=True, slots=True)
class Pack:
    """The result of an export: the number of files, and of entries of each log by its folder.

    `anchors` are how many anchors each of these logs extends. `not_here` are the logs that a policy
    ever named and the gateway does not show, with what the registry's log records of each.
    """

    files: int
    logs: dict[str, int]
    models: tuple[str, ...]
    anchors: dict[str, int]
    not_here: dict[str, str]


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

    1. Every log behind the gateway is one that they name, and its entries lead to its checkpoint
       and to each anchor of it. Logs that they ever named and the gateway does not show are told.
    2. Each document is what the registry's log recorded, and signed by whom it names; the files of
       versions are those that were signed.

    `progress` is told what is being written, and how much of how much of it is there. Raises
    SealgateError: MODEL_UNKNOWN for a model that the log does not know, reasons of
    `TileFolder.grow` and `Documents.write`; FileExistsError. No folder is left then.
    """
    registry = RegistryServiceStub(channel)
    with new_folder(place, progress) as writer:
        # 1. and 2.
        documents = Documents(policies, models, writer)
        logs = _Logs(channel, policies, writer, progress)
        logs.write(documents)
        for model in sorted(set(models) - documents.models):
            raise SealgateError(Reason.MODEL_UNKNOWN, model)
        if with_files:
            _write_files(registry, documents, writer)
        _write_keys(policies, writer)
        _write_instructions(writer)
        exported = tuple(sorted(documents.models))
        _write_label(writer, format_time(now), exported, with_files, logs)
        return Pack(writer.write_sums(), logs.sizes, exported, logs.anchors, logs.not_here)


class _Logs:
    """Writes the logs behind a gateway; see `Pack` for what it tells of them."""

    def __init__(
        self,
        channel: grpc.Channel,
        policies: Sequence[Policy],
        writer: FolderWriter,
        progress: Progress,
    ) -> None:
        self.sizes: dict[str, int] = {}
        self.anchors: dict[str, int] = {}
        self.not_here: dict[str, str] = {}
        self._channel = channel
        self._policies = policies
        self._writer = writer
        self._progress = progress
        self._told = AnswerLogHistory()

    def write(self, documents: Documents) -> None:
        policy = self._policies[-1]
        auditor = Auditor(self._channel, policy)
        origins = auditor.origins()
        # The registry's first, so that no anchor in it is ahead of the log that it is of.
        for origin in sorted(origins, key=policy.is_answer_log):
            self._write(auditor, origin, documents)
        for origin in named_logs(self._policies):
            if origin not in origins:
                self.not_here[origin] = last_anchor(self._told, self._policies, origin)

    def _write(self, auditor: Auditor, origin: str, documents: Documents) -> None:
        policy = self._policies[-1]
        name, vkey = log_folder(origin), policy.log_key(origin)
        if name in self.sizes:
            raise SealgateError(Reason.LOG_UNKNOWN, f"two logs that would have the folder {name}")
        # Before the checkpoint, so that no stamp is ahead of it.
        stamps = kept_stamps(auditor.logs, origin)
        note = auditor.logs.GetCheckpoint(GetCheckpointRequest(origin=origin)).note
        size = open_checkpoint(note, vkey).size
        answers = policy.is_answer_log(origin)
        groups = auditor.entries(origin, size) if answers else self._records(size, documents)
        folder = TileFolder(self._writer.folder / "logs" / name, vkey)
        folder.grow(note, groups, partial(self._progress, f"logs/{name}"))
        if answers:
            anchors = self._told.anchors.get(origin, [])
            keys = log_keys(self._policies, origin)
            for anchor in anchors:
                folder.check_claim(anchor.claim(keys))
            self.anchors[name] = len(anchors)
        for number, stamp in enumerate(stamps):
            stamped = open_checkpoint(stamp.note, vkey)
            folder.check_claim(Claim(stamped.size, stamped.root, "a time stamp's checkpoint"))
            place = Path("timestamps", name, f"{number:06}")
            self._writer.write(place.with_suffix(".note"), stamp.note.encode())
            self._writer.write(place.with_suffix(".tsr"), stamp.stamp)
        # A log that signs with ML-DSA as well has a second key, after a blank.
        lines = "".join(f"{key}\n" for key in current_vkey(vkey).split(" "))
        self._writer.write(Path("keys", "logs", f"{name}.vkey"), lines.encode())
        self.sizes[name] = size

    def _records(self, size: int, documents: Documents) -> Iterator[list[bytes]]:
        """The leaves of the registry's log, whose documents are written as they pass."""
        request = StreamRecordsRequest(start=0, end=size)
        for part in AuditServiceStub(self._channel).StreamRecords(request):
            for entry in part.entries:
                self._told.visit(entry.index, entry.leaf)
                documents.write(PackRecord.of(entry))
            yield [entry.leaf for entry in part.entries]


def _write_files(registry: RegistryServiceStub, documents: Documents, writer: FolderWriter) -> None:
    for signed in documents.versions:
        for file in signed.manifest.files:
            chunks = signed.chunks(registry, file)
            writer.stream(Path(signed.name, "files", file.path), chunks, file.size)


def _write_keys(policies: Sequence[Policy], writer: FolderWriter) -> None:
    keys = {keyid: key for policy in policies for keyid, key in policy.keys.items()}
    for keyid, key in keys.items():
        writer.write(Path("keys", f"{keyid}.pem"), key.pem.encode())


def _write_instructions(writer: FolderWriter) -> None:
    checks = files("sealgate.pack") / "check"
    for resource in sorted(checks.iterdir(), key=lambda item: item.name):
        if resource.is_file():
            home = Path() if resource.name == "README.md" else Path("check")
            writer.write(home / resource.name, resource.read_bytes())


def _write_label(
    writer: FolderWriter, created: str, models: Sequence[str], with_files: bool, logs: _Logs
) -> None:
    label = {
        "type": TYPE,
        "created": created,
        "models": list(models),
        "files": with_files,
        "logs": logs.sizes,
        "anchors": logs.anchors,
        "not_here": logs.not_here,
    }
    writer.write(Path("pack.json"), canonical.encode(label))
