"""A registry at work: a real database, artifacts and keys, and people who hand things in.

The people are those of `people`; publishers have a P-256 key too, with which they sign models.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper
from safetensors.numpy import save
from sqlalchemy import make_url

from registry.formats import format_check
from registry.formats.check_queue import FileChecks, open_files
from registry.policy.policies import PinnedRoot
from registry.registry import Registry
from registry.state.records import PointerRecord, ProposalRecord, VersionRecord
from registry.storage.artifacts import ArtifactStore, FolderStore
from registry.storage.database import Database
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import Signer
from sealgate.trust.policy import Policy, Principal
from sealgate.trust.statements import (
    Approval,
    Comment,
    Evidence,
    Manifest,
    Pointer,
    PointerBundle,
    Proposal,
    ProposalWithdrawal,
    Rejection,
    Revocation,
    oms,
    sign_statement,
    verify_freshness,
    verify_pointer,
)
from sealgate.trust.times import format_time
from tests.support.builders.documents.people import (
    NOW,
    REGISTRY_LOG,
    key,
    make_policy,
    p256_key,
    sign_policy,
)
from tests.support.harness.registry_tables import content, make_tables
from tests.support.oracles.covered import check_covered

PUBLISHERS = ("paula", "peter")
# The bytes of a SQLite database as `RegistryHarness.found` leaves it.
_FOUNDED: list[bytes] = []


def onnx_bytes(name: str = "small") -> bytes:
    """A model of one node; the name makes it another file."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["logits"])],
        name,
        [value("x", TensorProto.FLOAT, ["n", 4])],
        [value("logits", TensorProto.FLOAT, ["n", 4])],
    )
    return bytes(helper.make_model(graph).SerializeToString())


def version_files(name: str = "small") -> dict[str, bytes]:
    """Files of the accepted formats; the name makes them another version."""
    return {
        "model.json": b'{"name":"digits"}',
        "model.int8.onnx": onnx_bytes(name),
        "response.onnx": onnx_bytes(name),
        "golden.safetensors": save({"x": np.zeros((2, 4), np.float32)}),
    }


def harness_policy(**changes: Any) -> Policy:
    """The policy of `people`, with publishers who can sign models."""
    policy = make_policy()
    models = {name: p256_key(name).public for name in PUBLISHERS}
    principals = tuple(
        replace(person, keys=(*person.keys, models[person.name].keyid))
        if person.name in models
        else person
        for person in policy.principals
    )
    robot = Principal("robot", ("evidence",), (key("robot").public.keyid,), ())
    keys = {**policy.keys, **{public.keyid: public for public in models.values()}}
    keys[key("robot").public.keyid] = key("robot").public
    return make_policy(**({"principals": (*principals, robot), "keys": keys} | changes))


def check_here(manifest: Manifest, artifacts: ArtifactStore) -> None:
    """The worker's check, in this process: a process for each version would take most of the time
    of most tests.
    """
    with open_files(manifest, artifacts) as (request, _):
        format_check.run(request, lambda _: None)


class RegistryHarness:
    """The registry and, through its methods, everybody who has to do with it."""

    def __init__(self, folder: Path, url: str, busy_ms: int = 1000) -> None:
        """`busy_ms` is how long a writer waits for others."""
        make_tables(url)
        self._busy_ms = busy_ms
        self.now = NOW
        self.folder = folder
        self.url = url
        self.policy = harness_policy()
        self.log_signer: Signer = key("registry-log")
        self.freshness_signer: Signer = key("fresh")
        self.artifacts = FolderStore(folder / "artifacts")
        self.registry = self.open()

    @classmethod
    def founded(cls, folder: Path, url: str, busy_ms: int = 1000) -> "RegistryHarness":
        """One that has found its first policy and the model `digits`."""
        place = make_url(url)
        if place.get_backend_name() != "sqlite":
            return cls(folder, url, busy_ms).found()
        path = Path(place.database or "")
        if not _FOUNDED:
            first = cls(folder, url).found()
            first.registry.close()
            _FOUNDED.append(content(path))
        path.write_bytes(_FOUNDED[0])
        return cls(folder, url, busy_ms)

    def clock(self) -> datetime:
        return self.now

    def open(self) -> Registry:
        """A registry over the same database, whatever other one there is."""
        self.database = Database.open(self.url, "registry", busy_ms=self._busy_ms)
        root = self.policy.root_keys()
        return Registry.open(
            self.database,
            self.artifacts,
            origin=REGISTRY_LOG,
            log_signer=self.log_signer,
            freshness_signer=self.freshness_signer,
            root=PinnedRoot(root, 2),
            clock=self.clock,
            checks=FileChecks(check_here),
        )

    def reopen(self) -> Registry:
        """Close and open again, as after a restart."""
        self.registry.close()
        self.registry = self.open()
        return self.registry

    def found(self, *models: str) -> "RegistryHarness":
        """Accept the first policy and create models, `digits` unless told otherwise."""
        self.registry.policies.accept("root", sign_policy(self.policy).encode())
        for model in models or ("digits",):
            self.registry.models.create("paula", model)
        return self

    def accept(self, **changes: Any) -> Policy:
        """Accept a successor of the policy."""
        policy = replace(self.policy, version=self.policy.version + 1, **changes)
        self.registry.policies.accept("root", sign_policy(policy).encode())
        self.policy = policy
        return policy

    def commitment(self, model: str = "digits", principal: str = "paula") -> str:
        """A new watermark commitment."""
        digest = sha256(os.urandom(32))
        self.registry.models.commit_watermark(principal, model, digest)
        return digest

    def upload(self, files: Mapping[str, bytes], model: str = "digits") -> Manifest:
        manifest = Manifest.of(files)
        upload = self.registry.versions.start_upload("paula", model, manifest.encode())
        for path, data in files.items():
            upload.receive(path, [data[:7], data[7:]])
        upload.finish()
        return manifest

    def evidence(self, manifest: Manifest, maker: str = "robot", **changes: Any) -> bytes:
        statement = Evidence("golden-run", manifest.digest, maker, format_time(self.now), {"n": 1})
        return sign_statement(replace(statement, **changes), key(maker)).encode()

    def publish(self, name: str = "small", model: str = "digits") -> VersionRecord:
        """Register a version with one item of evidence."""
        manifest = self.upload(version_files(name), model)
        return self.registry.versions.register(
            "paula",
            model,
            manifest.encode(),
            oms.sign(manifest, p256_key("paula")),
            [self.evidence(manifest)],
            self.commitment(model),
        )

    def proposal(self, version: VersionRecord, /, **changes: Any) -> Proposal:
        items = [Envelope.decode(item) for item in version.evidence]
        proposal = Proposal(
            model=version.model,
            alias="production",
            version=version.version,
            digest=version.digest,
            evidence=tuple(
                sorted((Evidence.decode(e.payload).kind, e.payload_digest) for e in items)
            ),
            predecessor=0,
            policy=self.policy.digest,
            proposer="paula",
            created=format_time(self.now),
            not_after=format_time(self.now + timedelta(days=7)),
        )
        return replace(proposal, **changes)

    def propose(self, version: VersionRecord, /, **changes: Any) -> ProposalRecord:
        proposal = self.proposal(version, **changes)
        envelope = sign_statement(proposal, key(proposal.proposer))
        return self.registry.proposals.create(proposal.proposer, envelope.encode())

    def approve(self, proposal: ProposalRecord, *names: str) -> ProposalRecord:
        for name in names:
            approval = Approval(proposal.digest, name, "I have read it.", format_time(self.now))
            envelope = sign_statement(approval, key(name)).encode()
            proposal = self.registry.proposals.approve(name, envelope)
        return proposal

    def reject(self, digest: str, person: str = "anna", signer: str = "") -> ProposalRecord:
        said = Rejection(digest, person, "It fails on seven.", format_time(self.now))
        envelope = sign_statement(said, key(signer or person)).encode()
        return self.registry.replies.reject(person, envelope)

    def withdraw(self, digest: str, person: str = "paula", signer: str = "") -> ProposalRecord:
        said = ProposalWithdrawal(digest, person, "A better one comes.", format_time(self.now))
        envelope = sign_statement(said, key(signer or person)).encode()
        return self.registry.replies.withdraw(person, envelope)

    def comment(
        self, digest: str, person: str = "anna", text: str = "See row 17."
    ) -> ProposalRecord:
        said = Comment(digest, person, text, format_time(self.now))
        return self.registry.replies.comment(person, sign_statement(said, key(person)).encode())

    def pointer(self, proposal: ProposalRecord, /, **changes: Any) -> Pointer:
        proposed = Proposal.decode(Envelope.decode(proposal.envelope).payload)
        approvals = [Envelope.decode(item).payload_digest for item in proposal.approvals]
        pointer = Pointer(
            action="promote",
            model=proposed.model,
            alias=proposed.alias,
            version=proposed.version,
            digest=proposed.digest,
            sequence=proposed.predecessor + 1,
            proposal=proposal.digest,
            approvals=tuple(sorted(approvals)),
            returns_to="",
            policy=proposed.policy,
            admin="otto",
            time=format_time(self.now),
            reason="It is better.",
        )
        return replace(pointer, **changes)

    def promote(self, proposal: ProposalRecord, /, **changes: Any) -> PointerRecord:
        pointer = self.pointer(proposal, **changes)
        envelope = sign_statement(pointer, key(pointer.admin)).encode()
        return self.registry.pointers.promote(pointer.admin, envelope)

    def release(self, version: VersionRecord, predecessor: int = 0) -> PointerRecord:
        """Propose, approve twice, promote."""
        proposal = self.propose(version, predecessor=predecessor)
        return self.promote(self.approve(proposal, "anna", "arne"))

    def return_to(self, target: PointerRecord, sequence: int, **changes: Any) -> Pointer:
        """The pointer of a rollback, not handed in."""
        from_bundle = Pointer.decode(pointer_envelope(target).payload)
        pointer = replace(
            from_bundle,
            action="rollback",
            sequence=sequence,
            returns_to=target.digest,
            policy=self.policy.digest,
            time=format_time(self.now),
            reason="It was better before.",
        )
        return replace(pointer, **changes)

    def roll_back(self, target: PointerRecord, sequence: int, **changes: Any) -> PointerRecord:
        pointer = self.return_to(target, sequence, **changes)
        envelope = sign_statement(pointer, key(pointer.admin)).encode()
        return self.registry.pointers.rollback(pointer.admin, envelope)

    def revoke(self, version: VersionRecord, /, **changes: Any) -> VersionRecord:
        revocation = Revocation(
            version.model, version.version, version.digest, "It leaks.", "otto", format_time(NOW)
        )
        revocation = replace(revocation, **changes)
        envelope = sign_statement(revocation, key(revocation.admin)).encode()
        return self.registry.revocations.revoke(revocation.admin, envelope)


def pointer_envelope(record: PointerRecord) -> Envelope:
    """The signed pointer out of a record's bundle."""
    return PointerBundle.decode(record.bundle).pointer


def verify_as_an_engine(harness: RegistryHarness, pointer: PointerRecord) -> None:
    """Check a snapshot with nothing but the chain, as an engine would."""
    snapshot = harness.registry.snapshot()
    chain = harness.registry.policies.chain()
    live = {(item.model, item.alias): item for item in snapshot.live}["digits", "production"]
    manifest = Manifest.decode(live.manifest)
    signer = oms.verify(live.signature, manifest, chain.newest.keys.values())
    publisher = chain.newest.holder(signer.keyid)
    assert publisher is not None
    bundle = PointerBundle.decode(live.bundle)
    verified = verify_pointer(bundle, chain.by_digest, chain.newest, publisher.name, harness.now)
    freshness = verify_freshness(Envelope.decode(snapshot.freshness), chain.newest, harness.now)
    check_covered(verified, freshness)
    assert verified.digest == manifest.digest == pointer.version_digest
    assert verified.sequence == pointer.sequence
