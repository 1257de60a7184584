"""The honest side: a real registry on SQLite, and the people who use it.

Each run begins with a copy of a prepared database, so that nothing is founded twice. People sign on
their own machines what they know; whatever they sign is known to the oracle, even if the registry
refuses it.
"""

import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from registry.formats.check_queue import FileChecks
from registry.log.tile_log import TileLog
from registry.policy.policies import PinnedRoot
from registry.registry import Registry
from registry.state.schema import LOG
from registry.storage.artifacts import ArtifactStore, FolderStore
from registry.storage.database import Database
from sealgate.trust.canonical import sha256
from sealgate.trust.statements import (
    Approval,
    Evidence,
    Manifest,
    Pointer,
    Proposal,
    Revocation,
    oms,
)
from sealgate.trust.statements.types import PROMOTE, ROLLBACK
from sealgate.trust.times import format_time
from sealgate.trust.transparency import open_checkpoint
from tests.support.builders.documents.people import NOW, REGISTRY_LOG
from tests.support.oracles.promotion.documents import Documents, Place, Published
from tests.support.oracles.promotion.rulebook import (
    MODEL_KEY,
    ROOTS,
    THRESHOLD,
    Rulebook,
    signing_key,
)

KNOWN_ROOTS = {signing_key(name).public.keyid: signing_key(name).public for name in ROOTS}
_WEEK = timedelta(days=7)


class Organisation:
    """The registry over the database in `folder`, and everybody who has to do with it."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.file = folder / "registry.db"
        self.database = Database.open(self.file, "registry", busy_ms=1000)
        self.artifacts = FolderStore(folder / "artifacts")
        # Past the registry, as a database administrator works.
        self.sql = sqlite3.connect(self.file, isolation_level=None)
        self.documents = Documents()
        self.rulebook = Rulebook()
        self.registry: Registry

    def clock(self) -> datetime:
        return self.now

    def begin(self, now: datetime, documents: Documents, rulebook: Rulebook) -> None:
        """Go on from a state that was prepared; the database holds it already."""
        self.now, self.documents, self.rulebook = now, documents, rulebook
        log = TileLog.open(
            self.database, LOG, REGISTRY_LOG, signing_key("registry-log"), shared=True
        )
        root = PinnedRoot(KNOWN_ROOTS, THRESHOLD)
        fresh = signing_key("fresh")
        self.registry = Registry(self.database, self.artifacts, log, fresh, root, self.clock)

    def restart(self, *, remember: bool) -> None:
        """Open the registry again, which checks all of it; with what its process saw of the log, or
        as an operator who has put a copy back. Raises SealgateError.
        """
        known = open_checkpoint(self.registry.note, self.registry.log.vkey) if remember else None
        self.registry = Registry.open(
            self.database,
            self.artifacts,
            origin=REGISTRY_LOG,
            log_signer=signing_key("registry-log"),
            freshness_signer=signing_key("fresh"),
            root=PinnedRoot(KNOWN_ROOTS, THRESHOLD),
            clock=self.clock,
            known=known,
        )

    def accept(self, rulebook: Rulebook) -> None:
        """Two roots sign the next policy, and an admin hands it in. Raises SealgateError."""
        envelope = rulebook.signed()
        self.documents.policies[rulebook.digest] = rulebook
        self.registry.policies.accept("olga", envelope.encode())
        self.rulebook = rulebook

    def publish(self, model: str, files: dict[str, bytes]) -> Published:
        """Paula registers a version with one item of evidence. Raises SealgateError."""
        manifest = Manifest.of(files)
        upload = self.registry.versions.start_upload("paula", model, manifest.encode())
        for path, data in files.items():
            upload.receive(path, [data])
        upload.finish()
        commitment = sha256(manifest.encode() + model.encode())
        self.registry.models.commit_watermark("paula", model, commitment)
        statement = Evidence("golden-run", manifest.digest, "paula", self._time(), {"rows": 1})
        signature = oms.sign(manifest, signing_key(MODEL_KEY))
        evidence = [self.documents.sign(statement, "paula").encode()]
        # Formats are checked in a process of their own, which would take most of a run's time.
        with patch.object(FileChecks, "run", _hash):
            record = self.registry.versions.register(
                "paula", model, manifest.encode(), signature, evidence, commitment
            )
        found = Published(model, record.version, record.digest, files)
        self.documents.published[model, record.version] = found
        return found

    def attach(self, version: Published, maker: str) -> None:
        """A report on attacks comes after the version. Raises SealgateError."""
        report = Evidence("red-team", version.digest, maker, self._time(), {"found": 0})
        envelope = self.documents.sign(report, maker).encode()
        self.registry.attachments.attach(maker, version.model, version.version, envelope)

    def propose(
        self, version: Published, alias: str, share: int, proposer: str, lasting: timedelta = _WEEK
    ) -> str:
        """Propose the version as the alias's next; return the proposal's digest. Raises
        SealgateError.
        """
        evidence = [
            (item.kind, digest)
            for digest, item in self.documents.statements.items()
            if isinstance(item, Evidence)
            and (item.version_digest, item.kind) == (version.digest, "golden-run")
        ]
        proposal = Proposal(
            model=version.model,
            alias=alias,
            version=version.version,
            digest=version.digest,
            evidence=tuple(evidence),
            predecessor=self.newest((version.model, alias)),
            policy=self.rulebook.digest,
            proposer=proposer,
            created=self._time(),
            not_after=format_time(self.now + lasting),
            share=share if alias in ("canary", "shadow") else 0,
        )
        envelope = self.documents.sign(proposal, proposer)
        self.registry.proposals.create(proposer, envelope.encode())
        return envelope.payload_digest

    def approve(self, proposal: str, person: str, key: str, meaning: str) -> None:
        """Sign an approval with a key and hand it in. Raises SealgateError."""
        approval = Approval(proposal, person, meaning, self._time())
        envelope = self.documents.sign(approval, key)
        self.registry.proposals.approve(person, envelope.encode())

    def promote(self, proposal: str, approvals: tuple[str, ...], admin: str) -> str:
        """Move the alias as proposed, naming these approvals. Raises SealgateError."""
        proposed = self.documents.statements[proposal]
        assert isinstance(proposed, Proposal)
        pointer = Pointer(
            action=PROMOTE,
            model=proposed.model,
            alias=proposed.alias,
            version=proposed.version,
            digest=proposed.digest,
            sequence=proposed.predecessor + 1,
            proposal=proposal,
            approvals=tuple(sorted(approvals)),
            returns_to="",
            policy=proposed.policy,
            admin=admin,
            time=self._time(),
            reason="It is better.",
        )
        envelope = self.documents.sign(pointer, admin)
        self.registry.pointers.promote(admin, envelope.encode())
        return envelope.payload_digest

    def roll_back(self, target: str, admin: str) -> str:
        """Return the alias to an earlier promotion. Raises SealgateError."""
        returned = self.documents.statements[target]
        assert isinstance(returned, Pointer)
        pointer = replace(
            returned,
            action=ROLLBACK,
            sequence=self.newest((returned.model, returned.alias)) + 1,
            returns_to=target,
            policy=self.rulebook.digest,
            admin=admin,
            time=self._time(),
            reason="It was better before.",
        )
        envelope = self.documents.sign(pointer, admin)
        self.registry.pointers.rollback(admin, envelope.encode())
        return envelope.payload_digest

    def revoke(self, version: Published, admin: str) -> None:
        """Revoke a version. Raises SealgateError."""
        statement = Revocation(
            version.model, version.version, version.digest, "It leaks.", admin, self._time()
        )
        envelope = self.documents.sign(statement, admin)
        self.registry.revocations.revoke(admin, envelope.encode())

    def newest(self, place: Place) -> int:
        """The sequence of the place's newest pointer, as the database tells it; 0 for none."""
        query = "select max(sequence) from pointers where model = ? and alias = ?"
        found = self.sql.execute(query, place).fetchone()[0]
        return found if isinstance(found, int) else 0

    def _time(self) -> str:
        return format_time(self.now)


def _hash(_checks: FileChecks, _person: str, manifest: Manifest, artifacts: ArtifactStore) -> None:
    for entry in manifest.files:
        artifacts.check(entry.digest, entry.size)
