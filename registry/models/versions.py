"""Registers versions and reads what was registered."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, func, insert, select

from registry.formats import format_check
from registry.formats.check_queue import FileChecks
from registry.listing import (
    FIRST_PAGE,
    ListQuery,
    Page,
    as_text,
    number,
    presence,
    read_page,
    text,
    time,
)
from registry.models.evidence import EvidenceItem, open_evidence
from registry.models.models import (
    VERSION_ROWS,
    check_model,
    evidence_text,
    find_version,
    read_version,
    rows_within,
    version_records,
)
from registry.policy import PolicyBook
from registry.state.events import VERSION_REGISTERED
from registry.state.records import VersionRecord
from registry.state.schema import COMMITMENTS, EVIDENCE, REVOCATIONS, VERSIONS
from registry.state.unit_of_work import Ledger, RepeatedRequest, RequestKey, UnitOfWork, check_new
from registry.storage.artifacts import ArtifactStore, checked_blocks
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import check_digest
from sealgate.trust.policy import Policy
from sealgate.trust.statements import Manifest, oms


class Upload:
    """Takes a version's files, in any order, into the artifact store."""

    def __init__(self, manifest: Manifest, artifacts: ArtifactStore, *, largest: int) -> None:
        """Raises SealgateError: FORMAT_REFUSED for a name that is not accepted, FILE_TOO_LARGE when
        the files together exceed `largest` bytes.
        """
        for entry in manifest.files:
            format_check.check_name(entry.path)
        total = sum(entry.size for entry in manifest.files)
        if total > largest:
            raise SealgateError(Reason.FILE_TOO_LARGE, f"{total} bytes in all")
        self._manifest = manifest
        self._artifacts = artifacts
        self._received: set[str] = set()

    def receive(self, path: str, chunks: Iterable[bytes]) -> None:
        """Store one file. No more of the stream is read than the manifest allows.

        Raises SealgateError: FILE_SURPLUS for a path that the manifest does not name,
        FILE_DUPLICATE for one that came before, and like `ArtifactStore.put`.
        """
        entry = self._manifest.entry(path)
        if path in self._received:
            raise SealgateError(Reason.FILE_DUPLICATE, path)
        self._received.add(path)
        self._artifacts.put(chunks, entry.size, entry.digest)

    def finish(self) -> None:
        """Check that every file has come. Raises SealgateError(FILE_MISSING)."""
        for entry in self._manifest.files:
            if entry.path not in self._received:
                raise SealgateError(Reason.FILE_MISSING, entry.path)


LARGEST_VERSION = 8 << 30


class Versions:
    """The use cases around versions."""

    def __init__(
        self,
        ledger: Ledger,
        book: PolicyBook,
        artifacts: ArtifactStore,
        checks: FileChecks | None = None,
    ) -> None:
        self._ledger = ledger
        self._book = book
        self._artifacts = artifacts
        self._checks = checks or FileChecks()

    def start_upload(
        self, principal: str, model: str, manifest: bytes, signature: bytes | None = None
    ) -> Upload:
        """Begin to take a version's files, before any of their bytes is stored.

        Where the principal's `signature` is known already, it is checked first. Raises
        SealgateError: MODEL_UNKNOWN, VERSION_EXISTS, like `Manifest.decode`, `oms.verify` and
        `Upload`.
        """
        decoded = Manifest.decode(manifest)
        with self._ledger.view() as connection:
            if signature is not None:
                policy = self._book.read(connection).current(self._ledger.clock())
                oms.verify(signature, decoded, policy.keys_of(principal).values())
            check_model(connection, model)
            _check_new(connection, model, decoded.digest)
        return Upload(decoded, self._artifacts, largest=LARGEST_VERSION)

    def register(
        self,
        principal: str,
        model: str,
        manifest: bytes,
        signature: bytes,
        evidence: Sequence[bytes],
        commitment: str,
        once: RequestKey | None = None,
    ) -> VersionRecord:
        """Register files that the artifact store holds as the model's next version.

        1. The manifest is strict (reasons of `Manifest.decode`).
        2. The files are signed by a key of the publishing principal (reasons of `oms.verify`), and
           have a screening graph unless the policy exempts the model (SCREENING_REQUIRED).
        3. Every item of evidence is about this version and signed by its maker (reasons of
           `open_evidence`).
        4. The model exists (MODEL_UNKNOWN), and has no version of these bytes (VERSION_EXISTS).
        5. The watermark commitment is one of this model's (COMMITMENT_UNKNOWN) and stands for no
           other version (COMMITMENT_USED).
        6. Every file is there (FILE_MISSING) and of an accepted name (FORMAT_REFUSED).
        7. Every file is whole, of an accepted format, and no exported copy (reasons of
           `FileChecks.run`): no file is read before, and none in this process.
        8. All but the last still holds, and from here on no collector takes a file.
        """
        check_digest(commitment)
        # 1.
        decoded = Manifest.decode(manifest)
        done = self.done(principal, once)
        if done is not None:
            return done
        with self._ledger.view() as connection:
            # 2. and 3.
            policy = self._book.read(connection).current(self._ledger.clock())
            items = _check_signed(policy, principal, model, decoded, signature, evidence)
            # 4. to 6.
            self._check_record(connection, model, decoded, commitment)
        # 7.
        self._checks.run(principal, decoded, self._artifacts)
        with suppress(RepeatedRequest), self._ledger.change(principal, once) as unit:
            # 8.
            current = self._book.read_for(unit).current(unit.now)
            if current.digest != policy.digest:
                items = _check_signed(current, principal, model, decoded, signature, evidence)
            self._check_record(unit.connection, model, decoded, commitment)
            row = {"digest": decoded.digest, "manifest": manifest, "signature": signature}
            _add(unit, model, items, commitment=commitment, **row)
            unit.commit()
        return self._find(model, decoded.digest)

    def done(self, principal: str, once: RequestKey | None) -> VersionRecord | None:
        """Return the version if this very request has registered it before.

        Raises SealgateError(REQUEST_ID_REUSED).
        """
        if once is None:
            return None
        with self._ledger.view() as connection:
            try:
                check_new(connection, principal, once)
            except RepeatedRequest as repeated:
                here = VERSIONS.c.entry == repeated.entry
                row = connection.execute(VERSION_ROWS.where(here)).mappings().one()
                return version_records(connection, [row])[0]
        return None

    def get(self, model: str, version: int) -> VersionRecord:
        """Return one version. Raises SealgateError: MODEL_UNKNOWN, VERSION_UNKNOWN."""
        with self._ledger.view() as connection:
            return read_version(connection, model, version)

    def list(
        self, model: str, asked: ListQuery = FIRST_PAGE, *, signed: bool = True
    ) -> Page[VersionRecord]:
        """Return a page of a model's versions, oldest first; unless `signed`, without signatures
        and evidence. A page ends before its evidence has more than 2 MiB, but for its first
        version.

        Raises SealgateError: MODEL_UNKNOWN, or as `read_page`.
        """
        query = VERSION_ROWS.where(VERSIONS.c.model == model)
        scope = ["versions", model]
        with self._ledger.view() as connection:
            page = read_page(connection, query, VERSIONS.c.entry, asked, scope, _FIELDS)
            if not page.records:
                check_model(connection, model)
            rows, token = page.records, page.next_page_token
            if signed and len(within := rows_within(connection, rows)) < len(rows):
                rows, token = within, asked.token(within[-1]["entry"], *scope)
            return Page(version_records(connection, rows, signed=signed), token)

    def read_file(self, model: str, version: int, path: str) -> bytes:
        """Return the bytes of one file, hashed again.

        Raises SealgateError: VERSION_UNKNOWN, FILE_SURPLUS for a path that the version does not
        have, VERSION_ALTERED.
        """
        entry = Manifest.decode(self.get(model, version).manifest).entry(path)
        return self._artifacts.read(entry.digest, entry.size)

    def file_blocks(self, model: str, version: int, path: str) -> Iterator[bytes]:
        """The same in blocks: a file may be larger than memory, and many may be read at once, as
        slowly as their readers like. Of an altered file nothing comes; of one that is altered
        meanwhile, not the end.
        """
        entry = Manifest.decode(self.get(model, version).manifest).entry(path)
        with self._artifacts.open(entry.digest, entry.size) as file:
            yield from checked_blocks(file, entry.size, entry.digest)

    def check_bytes(self, model: str, version: int) -> None:
        """Hash every stored file of a version. Raises SealgateError: VERSION_UNKNOWN,
        VERSION_ALTERED.
        """
        with self._ledger.view() as connection:
            row = find_version(connection, model, version)
        manifest = Manifest.decode(bytes(row["manifest"]))
        if manifest.digest != row["digest"]:
            raise SealgateError(Reason.VERSION_ALTERED, "the manifest is not the one registered")
        for entry in manifest.files:
            self._artifacts.check(entry.digest, entry.size)

    def _find(self, model: str, digest: str) -> VersionRecord:
        here = (VERSIONS.c.model == model, VERSIONS.c.digest == digest)
        with self._ledger.view() as connection:
            row = connection.execute(VERSION_ROWS.where(*here)).mappings().one()
            return version_records(connection, [row])[0]

    def _check_record(
        self, connection: Connection, model: str, manifest: Manifest, commitment: str
    ) -> None:
        """Steps 4 to 6 of `register`."""
        check_model(connection, model)
        _check_new(connection, model, manifest.digest)
        _check_commitment(connection, model, commitment)
        for entry in manifest.files:
            format_check.check_name(entry.path)
            if entry.digest not in self._artifacts:
                raise SealgateError(Reason.FILE_MISSING, entry.path)


_REVOKED = (
    select(REVOCATIONS.c.version)
    .where(REVOCATIONS.c.model == VERSIONS.c.model, REVOCATIONS.c.version == VERSIONS.c.version)
    .exists()
)
_FIELDS = {
    "name": text("models/" + VERSIONS.c.model + "/versions/" + as_text(VERSIONS.c.version)),
    "version": number(VERSIONS.c.version),
    "digest": text(VERSIONS.c.digest),
    "publisher": text(VERSIONS.c.principal),
    "create_time": time(VERSIONS.c.time),
    "revocation_reason": presence(_REVOKED),
}


def _check_signed(
    policy: Policy,
    principal: str,
    model: str,
    manifest: Manifest,
    signature: bytes,
    evidence: Sequence[bytes],
) -> tuple[EvidenceItem, ...]:
    """Steps 2 and 3 of `register`; returns the evidence."""
    oms.verify(signature, manifest, policy.keys_of(principal).values())
    policy.check_screening(model, manifest.screened)
    return open_evidence(evidence, manifest.digest, policy)


def _check_new(connection: Connection, model: str, digest: str) -> None:
    here = (VERSIONS.c.model == model, VERSIONS.c.digest == digest)
    version = connection.scalar(select(VERSIONS.c.version).where(*here))
    if version is not None:
        raise SealgateError(Reason.VERSION_EXISTS, digest, facts={"version": str(version)})


def _check_commitment(connection: Connection, model: str, commitment: str) -> None:
    table = COMMITMENTS
    here = (table.c.commitment == commitment, table.c.model == model)
    if connection.scalar(select(table.c.entry).where(*here)) is None:
        raise SealgateError(Reason.COMMITMENT_UNKNOWN, commitment)
    used = select(VERSIONS.c.version).where(VERSIONS.c.commitment == commitment)
    if connection.scalar(used) is not None:
        raise SealgateError(Reason.COMMITMENT_USED, commitment)


def _next_version(connection: Connection, model: str) -> int:
    newest = select(func.max(VERSIONS.c.version)).where(VERSIONS.c.model == model)
    return (connection.scalar(newest) or 0) + 1


def _add(unit: UnitOfWork, model: str, items: Sequence[EvidenceItem], **row: Any) -> int:
    """Add the row of a version and those of its evidence; return its number."""
    version = _next_version(unit.connection, model)
    place = {"model": model, "version": version}
    evidence = evidence_text([item.envelope for item in items])
    unit.add(VERSION_REGISTERED, **place, **row, evidence=evidence)
    rows = [{**place, "position": at, **asdict(item)} for at, item in enumerate(items)]
    if rows:
        unit.connection.execute(insert(EVIDENCE), rows)
    return version
