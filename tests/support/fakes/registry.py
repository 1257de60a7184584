"""A registry on paper: every document signed with real keys, and nothing checked.

It stands for the database, which nobody trusts: a test alters it in whatever way a thief could
and looks at what the engine does. It is a `Snapshot` and a `Source` of the engine in one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from inference.engine.trust_state import Place, TrustAnchor
from inference.engine.version_verifier import SignedManifest
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import dsse
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import ECDSA_P256, PrivateKey
from sealgate.trust.policy import Policy, PolicyRoot, PolicyRules, Principal
from sealgate.trust.statements import (
    Approval,
    Freshness,
    Manifest,
    Pointer,
    PointerBundle,
    Proposal,
    oms,
    sign_statement,
)
from sealgate.trust.statements.types import PROMOTE, ROLLBACK
from sealgate.trust.times import format_time
from sealgate.trust.transparency.note import vkey

ROLES = {
    "paula": ("publisher",),
    "petra": ("publisher",),
    "anna": ("approver",),
    "abel": ("approver",),
    "adam": ("admin",),
    "freshness": ("freshness",),
}
FRESH = timedelta(hours=1)
GRACE = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class UncheckedVersion:
    number: int
    digest: str


class UncheckedRegistry:
    """Models, versions and pointers in memory. `now` is its clock, and a test's to move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 25, 10, tzinfo=UTC)
        self.root = PrivateKey.generate()
        self.keys = {name: PrivateKey.generate() for name in ROLES}
        self.oms_keys = {n: PrivateKey.generate(ECDSA_P256) for n in ("paula", "petra")}
        self.policies: list[Envelope] = []
        self.policy = self.add_policy()
        self.signed: dict[str, SignedManifest] = {}
        self.files: dict[str, bytes] = {}
        self.versions: dict[tuple[str, int], UncheckedVersion] = {}
        self.bundles: dict[Place, PointerBundle] = {}
        self.history: dict[Place, list[PointerBundle]] = {}
        self.revoked: set[str] = set()
        self.rejected: set[str] = set()
        self.statements = 0
        self.freshness: Envelope | None = None

    @property
    def anchor(self) -> TrustAnchor:
        return TrustAnchor({self.root.public.keyid: self.root.public}, 1)

    def clock(self) -> datetime:
        return self.now

    def add_policy(self, without: frozenset[str] = frozenset(), days: int = 30) -> Policy:
        """The next policy. Those named in `without` are gone, and so are their keys."""
        people = [name for name in ROLES if name not in without]
        owned = {name: self._keys_of(name) for name in people}
        public = [key.public for keys in owned.values() for key in keys] + [self.root.public]
        log = PrivateKey.generate().public
        policy = Policy(
            version=len(self.policies) + 1,
            issued=format_time(self.now),
            expires=format_time(self.now + timedelta(days=days)),
            keys={key.keyid: key for key in public},
            root=PolicyRoot((self.root.public.keyid,), 1),
            principals=tuple(
                Principal(name, ROLES[name], tuple(k.public.keyid for k in owned[name]), ())
                for name in people
            ),
            rules=PolicyRules(
                approvals={"production": 2, "canary": 1},
                adversarial="block",
                suspect="flag",
                freshness_seconds=int(FRESH.total_seconds()),
                grace_seconds=int(GRACE.total_seconds()),
            ),
            registry_log=vkey("registry.example", log),
            answer_logs=(),
        )
        self.policies.append(dsse.sign(Policy.PAYLOAD_TYPE, policy.encode(), self.root))
        self.policy = policy
        return policy

    def publish(
        self, files: Mapping[str, bytes], model: str = "digits", publisher: str = "paula"
    ) -> UncheckedVersion:
        manifest = Manifest.of(files)
        signature = oms.sign(manifest, self.oms_keys[publisher])
        self.signed[manifest.digest] = SignedManifest(manifest.encode(), signature)
        self.files.update({sha256(data): data for data in files.values()})
        number = 1 + sum(name == model for name, _ in self.versions)
        version = UncheckedVersion(number, manifest.digest)
        self.versions[model, number] = version
        return version

    def promote(
        self,
        version: UncheckedVersion,
        model: str = "digits",
        alias: str = "production",
        approvers: tuple[str, ...] = ("anna", "abel"),
    ) -> PointerBundle:
        sequence = len(self.history.get((model, alias), [])) + 1
        proposal = self._propose(version, model, alias, sequence)
        approvals = [self._approve(proposal, name) for name in approvers]
        approvals.sort(key=lambda envelope: envelope.payload_digest)
        pointer = Pointer(
            action=PROMOTE,
            model=model,
            alias=alias,
            version=version.number,
            digest=version.digest,
            sequence=sequence,
            proposal=proposal.payload_digest,
            approvals=tuple(envelope.payload_digest for envelope in approvals),
            returns_to="",
            policy=self.policy.digest,
            admin="adam",
            time=format_time(self.now),
            reason="It is better.",
        )
        bundle = PointerBundle(
            sign_statement(pointer, self.keys["adam"]), proposal, tuple(approvals), None
        )
        return self._point((model, alias), bundle)

    def roll_back(
        self, target: PointerBundle, model: str = "digits", alias: str = "production"
    ) -> PointerBundle:
        """A new pointer that returns to the promotion `target`."""
        returned = Pointer.decode(target.pointer.payload)
        pointer = replace(
            returned,
            action=ROLLBACK,
            sequence=len(self.history[model, alias]) + 1,
            returns_to=target.pointer.payload_digest,
            policy=self.policy.digest,
            time=format_time(self.now),
            reason="It was better before.",
        )
        bundle = PointerBundle.rollback(sign_statement(pointer, self.keys["adam"]), target)
        return self._point((model, alias), bundle)

    def revoke(self, version: UncheckedVersion) -> None:
        self.revoked.add(version.digest)
        self.refresh()

    def reject(self, bundle: PointerBundle) -> None:
        """Have the next statements say that the proposal of a pointer was rejected."""
        self.rejected.add(bundle.proposal.payload_digest)
        self.refresh()

    def refresh(self) -> Envelope:
        """A new statement of freshness, of what `bundles` holds."""
        self.statements += 1
        pointers = [
            (f"{model}/{alias}", Pointer.decode(bundle.pointer.payload).sequence, bundle)
            for (model, alias), bundle in sorted(self.bundles.items())
        ]
        statement = Freshness(
            sequence=self.statements,
            pointers=tuple((n, s, b.pointer.payload_digest) for n, s, b in sorted(pointers)),
            revoked=tuple(sorted(self.revoked)),
            issued=format_time(self.now),
            expires=format_time(self.now + FRESH),
            rejected=tuple(sorted(self.rejected)),
        )
        self.freshness = sign_statement(statement, self.keys["freshness"])
        return self.freshness

    def signed_manifest(self, digest: str) -> SignedManifest:
        if digest not in self.signed:
            raise SealgateError(Reason.VERSION_UNKNOWN, digest)
        return self.signed[digest]

    def read(self, digest: str) -> bytes:
        if digest not in self.files:
            raise SealgateError(Reason.FILE_MISSING, digest)
        return self.files[digest]

    def _propose(
        self, version: UncheckedVersion, model: str, alias: str, sequence: int
    ) -> Envelope:
        proposal = Proposal(
            model=model,
            alias=alias,
            version=version.number,
            digest=version.digest,
            evidence=(),
            predecessor=sequence - 1,
            policy=self.policy.digest,
            proposer="adam",
            created=format_time(self.now),
            not_after=format_time(self.now + timedelta(days=1)),
        )
        return sign_statement(proposal, self.keys["adam"])

    def _approve(self, proposal: Envelope, name: str) -> Envelope:
        time = format_time(self.now)
        approval = Approval(proposal.payload_digest, name, "I approve.", time)
        return sign_statement(approval, self.keys[name])

    def _keys_of(self, name: str) -> list[PrivateKey]:
        return [self.keys[name], *filter(None, [self.oms_keys.get(name)])]

    def _point(self, place: Place, bundle: PointerBundle) -> PointerBundle:
        self.history.setdefault(place, []).append(bundle)
        self.bundles[place] = bundle
        self.refresh()
        return bundle
