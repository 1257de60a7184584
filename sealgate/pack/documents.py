"""A pack's folder and its signed documents, each checked against the log and its signer.

The entries of the registry's log say what there must be; whatever comes with one is taken by its
digest alone.
"""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealgate.files import file_digest
from sealgate.reasons import Reason, SealgateError
from sealgate.signed_version import SignedVersion
from sealgate.trust import canonical
from sealgate.trust.canonical import raw, sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.fields import check_name
from sealgate.trust.policy import ALL_ROLES, STAFF_ROLES, EvidenceRules, Policy
from sealgate.trust.statements import (
    Comment,
    PointerBundle,
    ProposalWithdrawal,
    Rejection,
    open_under,
    types,
)
from sealgate.trust.statements.allowance import Allowance
from sealgate.trust.statements.base import Statement
from sealgate.v1.audit_pb2 import ProvenEntry

SUMS = "SHA256SUMS"


class FolderWriter:
    """Writes files into a folder that is not in its place yet.

    `progress` is told of each file, and of how many of how many bytes of it are there.
    """

    def __init__(self, folder: Path, progress: Callable[[str, int, int], None]) -> None:
        self.folder = folder
        self._progress = progress

    def write(self, path: Path, data: bytes) -> None:
        """A new small file. Raises FileExistsError where it has been written already."""
        self.stream(path, iter([data]), len(data))

    def stream(self, path: Path, chunks: Iterator[bytes], size: int) -> None:
        """A new file of `size` bytes from chunks, as they come. Raises as `write` does."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
                self._progress(str(path), file.tell(), size)

    def write_sums(self) -> int:
        """Write the digests of all files, as `sha256sum` does; return how many there are."""
        paths = sorted(p.relative_to(self.folder).as_posix() for p in _files(self.folder))
        lines = [f"{file_digest(self.folder / path)}  {path}\n" for path in paths]
        self.write(Path(SUMS), "".join(lines).encode())
        return len(paths)


@contextmanager
def new_folder(place: Path, progress: Callable[[str, int, int], None]) -> Iterator[FolderWriter]:
    """A writer whose folder gets to `place` when the block ends well, and else vanishes.

    Raises FileExistsError where there is something already.
    """
    if place.exists():
        raise FileExistsError(17, "exists already", str(place))
    place.absolute().parent.mkdir(parents=True, exist_ok=True)
    beside = place.absolute().with_name(f".{place.name}.{secrets.token_hex(8)}.unfinished")
    beside.mkdir()
    try:
        yield FolderWriter(beside, progress)
        os.sync()
        # Fails where somebody else has put something there meanwhile that is not an empty folder.
        beside.rename(place)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


# The kinds of evidence that lie beside their envelope as plain JSON too.
_PLAIN = {"mlbom": "mlbom.json", "screening-report": "screening.json"}
_ROLES: Mapping[type[Statement], tuple[str, ...]] = {
    types.Evidence: tuple(EvidenceRules.MAKERS),
    types.Proposal: ("publisher", "admin"),
    types.Approval: ("approver",),
    Rejection: ("approver",),
    ProposalWithdrawal: ("publisher", "admin"),
    Comment: tuple(STAFF_ROLES),
    types.Pointer: ("admin", "rollback"),
    types.Revocation: ("admin",),
    # By whatever role the policy asked for then; it was checked before the entry was made.
    Allowance: tuple(ALL_ROLES),
}


@dataclass(frozen=True, slots=True)
class PackRecord:
    """An entry of the registry's log, `subject` in its parts, and documents by their digests."""

    index: int
    event: str
    time: str
    principal: str
    subject: tuple[str, ...]
    body: Mapping[str, Any]
    documents: Mapping[str, bytes]

    @classmethod
    def of(cls, entry: ProvenEntry) -> "PackRecord":
        leaf = json.loads(entry.leaf)
        return cls(
            index=entry.index,
            event=leaf["event"],
            time=leaf["time"],
            principal=leaf["principal"],
            subject=tuple(leaf["subject"].split("/")),
            body=leaf["body"],
            documents={sha256(data): data for data in entry.documents},
        )

    def document(self, digest: str) -> bytes:
        """The document of that digest. Raises SealgateError(DIGEST_MISMATCH) where it did not
        come.
        """
        if digest not in self.documents:
            raise SealgateError(
                Reason.DIGEST_MISMATCH, f"entry {self.index} recorded other documents"
            )
        return self.documents[digest]


class Documents:
    """Checks and writes the documents of records, which are to come in their order.

    `policies` are oldest first; `models` are those that are wanted, none: all. `versions` are those
    whose files belong to what was written.
    """

    def __init__(
        self, policies: Sequence[Policy], models: Collection[str], writer: FolderWriter
    ) -> None:
        self._policies = policies
        self._wanted = frozenset(models)
        self._writer = writer
        self._proposals: dict[str, Path] = {}
        self.models: set[str] = set()
        self.versions: list[SignedVersion] = []

    def write(self, record: PackRecord) -> None:
        """Write what belongs to a record.

        Raises SealgateError: DIGEST_MISMATCH where the registry has something else; reasons of
        `SignedVersion.of` and `open_statement` for signatures.
        """
        write = {
            "policy.accepted": self._write_policy,
            "model.created": lambda record: self.models.add(record.subject[1]),
            "version.registered": self._write_version,
            "version.revoked": self._write_revocation,
            "proposal.created": self._write_proposal,
            "approval.added": self._write_approval,
            "proposal.rejected": self._write_rejection,
            "proposal.withdrawn": self._write_withdrawal,
            "comment.added": self._write_comment,
            "pointer.moved": self._write_pointer,
            "request.allowed": self._write_allowance,
            "screening.drifted": self._write_drift,
            "evidence.attached": self._write_attached,
        }.get(record.event)
        other = record.subject[0] == "models" and record.subject[1] not in self._wanted
        if write is not None and not (self._wanted and other):
            write(record)

    def _write_policy(self, record: PackRecord) -> None:
        data = record.document(record.body["envelope"])
        self._writer.write(Path("policies", f"{int(record.subject[1])}.dsse.json"), data)

    def _write_version(self, record: PackRecord) -> None:
        place = _place(record, "versions", str(int(record.subject[3])))
        manifest = record.document(record.body["manifest"])
        signature = record.document(record.body["signature"])
        name = "/".join(record.subject)
        signed = SignedVersion.of(name, manifest, signature, record.principal, self._policies)
        self._writer.write(place / "manifest.json", manifest)
        self._writer.write(place / "model.sig", signature)
        self._writer.write(place / "publisher.pem", signed.key.pem.encode())
        # The bytes that the signature's subject hashes: the files' digests, one after the other.
        subject = b"".join(raw(file.digest) for file in signed.manifest.files)
        self._writer.write(place / "subject", subject)
        for digest in record.body["evidence"]:
            data = record.document(digest)
            item = self._open(data, types.Evidence)
            self._writer.write(place / "evidence" / f"{item.kind}.dsse.json", data)
            if item.kind in _PLAIN:
                self._writer.write(place / _PLAIN[item.kind], canonical.encode(item.body))
        self.versions.append(signed)

    def _write_revocation(self, record: PackRecord) -> None:
        data = record.document(record.body["envelope"])
        self._open(data, types.Revocation)
        place = _place(record, "revocations", f"{int(record.subject[3])}.dsse.json")
        self._writer.write(place, data)

    def _write_proposal(self, record: PackRecord) -> None:
        data = record.document(record.body["envelope"])
        self._open(data, types.Proposal)
        digest = record.body["proposal"]
        self._proposals[digest] = _place(record, "proposals", raw(digest).hex())
        self._writer.write(self._proposals[digest] / "proposal.dsse.json", data)

    def _write_approval(self, record: PackRecord) -> None:
        self._write_reply(record, types.Approval, Path("approvals", record.principal))

    def _write_rejection(self, record: PackRecord) -> None:
        self._write_reply(record, Rejection, Path("rejection"))

    def _write_withdrawal(self, record: PackRecord) -> None:
        self._write_reply(record, ProposalWithdrawal, Path("withdrawal"))

    def _write_comment(self, record: PackRecord) -> None:
        name = raw(record.body["comment"]).hex()
        self._write_reply(record, Comment, Path("comments", name))

    def _write_reply(self, record: PackRecord, kind: type[Statement], name: Path) -> None:
        place = self._proposals.get(record.subject[1])
        # Else it is of a model that is not wanted.
        if place is not None:
            data = record.document(record.body["envelope"])
            author = check_name(self._open(data, kind).author)
            if author != record.principal:
                raise SealgateError(Reason.SIGNER_MISMATCH, f"entry {record.index}")
            self._writer.write(place / f"{name}.dsse.json", data)

    def _write_pointer(self, record: PackRecord) -> None:
        data = record.document(record.body["bundle"])
        pointer = PointerBundle.decode(data).pointer.encode()
        self._open(pointer, types.Pointer)
        alias = check_name(record.subject[3], Reason.NAME_MALFORMED)
        place = _place(record, "aliases", alias, str(int(record.body["sequence"])))
        self._writer.write(place / "bundle.json", data)
        self._writer.write(place / "pointer.dsse.json", pointer)

    def _write_allowance(self, record: PackRecord) -> None:
        data = record.document(record.body["envelope"])
        self._open(data, Allowance)
        name = f"{raw(record.body['allowance']).hex()}.dsse.json"
        self._writer.write(_place(record, "allowances", name), data)

    def _write_drift(self, record: PackRecord) -> None:
        """When, and on what evidence, the bound of a version's screening was withdrawn."""
        place = _place(record, "versions", str(int(record.subject[3])))
        told = {"time": record.time, **record.body}
        self._writer.write(place / "screening-withdrawn.json", canonical.encode(told))

    def _write_attached(self, record: PackRecord) -> None:
        """Evidence that came after the version, by its digest: one person may attach several."""
        data = record.document(record.body["envelope"])
        item = self._open(data, types.Evidence, EvidenceRules.ATTACHERS)
        place = _place(record, "versions", str(int(record.subject[3])), "attached")
        name = f"{item.kind}-{raw(record.body['item']).hex()}"
        self._writer.write(place / f"{name}.dsse.json", data)
        self._writer.write(place / f"{name}.json", canonical.encode(item.body))

    def _open(self, data: bytes, kind: type[Statement], roles: Collection[str] = ()) -> Any:
        return open_under(Envelope.decode(data), kind, self._policies, roles or _ROLES[kind])


def _place(record: PackRecord, *parts: str) -> Path:
    return Path("models", check_name(record.subject[1], Reason.NAME_MALFORMED), *parts)
