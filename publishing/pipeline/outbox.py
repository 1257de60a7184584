"""The outbox: versions that were built and not yet registered, on the publisher's machine.

A version is built once, because its watermark key is random. If publishing the same source and data
is interrupted, the next attempt continues with the version in the outbox.
"""

import base64
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from publishing.pipeline.build import BuiltVersion
from publishing.ready.external_data import weight_files
from publishing.ready.mlflow import files_of
from publishing.ready.reading import is_ready
from publishing.source.dataset import Dataset
from publishing.source.folder import NAMES, ORIGIN, read_plain_file
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.uploads import Package
from sealgate.trust import canonical, fields
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import write_private_file
from sealgate.trust.statements import Manifest

_TYPE = "sealgate/outbox/v1"
_DOCUMENT = "version.json"
_FIELDS = ("model", "manifest", "signature", "evidence", "commitment", "summary")


@dataclass(frozen=True, slots=True)
class PendingVersion:
    """A version to register, and the figures for its publisher."""

    package: Package
    summary: Mapping[str, Any]


class Outbox:
    """The versions made from one source, a folder or a file with its data: at most one of each
    waits that was asked for in these `wishes`.
    """

    def __init__(self, folder: Path, source: Path, data: Dataset, wishes: str) -> None:
        if source.is_file():
            paths = [source, *weight_files(source)]
        else:
            kept = [source / name for name in NAMES]
            paths = [path for path in (*kept, source / ORIGIN) if path.exists()]
            paths += files_of(source) if is_ready(source) else []
        parts = [sha256(read_plain_file(path)) for path in paths]
        if data.traffic is not None:
            parts.append(sha256(data.traffic.tobytes()))
        name = sha256("\n".join([*parts, data.digest, wishes]).encode())
        self.folder = folder / name.removeprefix("sha256:")[:16]

    def keep(self, built: BuiltVersion, summary: Mapping[str, Any]) -> PendingVersion:
        """Write down all that registering takes; it is there wholly or not at all."""
        document = {
            "type": _TYPE,
            "model": built.model,
            "manifest": built.manifest.encode().decode(),
            "signature": _text(built.signature),
            "evidence": [_text(envelope.encode()) for envelope in built.evidence],
            "commitment": built.commitment,
            "summary": dict(summary),
        }
        made = self.folder.with_suffix(".new")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(mode=0o700, parents=True)
        for path, data in built.files.items():
            write_private_file(made / path, data)
        (made / "about").mkdir(mode=0o700)
        write_private_file(made / "about" / _DOCUMENT, canonical.encode(document))
        made.rename(self.folder)
        return self.read()

    def is_empty(self) -> bool:
        return not self.folder.exists()

    def read(self) -> PendingVersion:
        """What waits. Raises SealgateError(DOCUMENT_MALFORMED)."""
        data = (self.folder / "about" / _DOCUMENT).read_bytes()
        document = fields.record(canonical.decode(data), _FIELDS, _TYPE)
        manifest = Manifest.decode(document["manifest"].encode())
        package = Package(
            model=document["model"],
            manifest=manifest,
            signature=_bytes(document["signature"]),
            evidence=[_bytes(item) for item in document["evidence"]],
            commitment=document["commitment"],
            files={entry.path: self.folder / entry.path for entry in manifest.files},
        )
        return PendingVersion(package, document["summary"])

    def empty(self) -> None:
        """Remove what waits."""
        shutil.rmtree(self.folder)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise SealgateError(Reason.DOCUMENT_MALFORMED, "not base64") from error
