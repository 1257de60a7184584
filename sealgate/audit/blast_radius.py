"""The blast radius of a key, version or threshold: the documents and answers that depend on it.

Signed statements are found in the whole of the registry's log, so none can be left out. Of the
answer logs, whose leaves hold commitments alone, `BlastRadius.touches` says which opened entries
count.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sealgate.audit.entries import ProvedEntry, alias_of
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PublicKey, VerificationKey
from sealgate.trust.keys.webauthn import Passkey
from sealgate.trust.policy import Policy
from sealgate.trust.statements import Evidence, PointerBundle, oms
from sealgate.trust.transparency.note import Verifier

# A pointer as receipts know it: model, version digest, sequence.
Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class AffectedEntry:
    """Something of the registry, the entry that records it, and how it is touched."""

    kind: str
    what: str
    entry: int
    how: str


@dataclass(slots=True)
class BlastRadius:
    """The entries and documents that depend on a key, version or threshold. `logs` are answer logs
    with every entry.
    """

    found: list[AffectedEntry] = field(default_factory=list)
    digests: set[str] = field(default_factory=set)
    places: set[Place] = field(default_factory=set)
    logs: set[str] = field(default_factory=set)
    threshold: str = ""

    def searches(self, origin: str) -> tuple[tuple[str, ...], ...]:
        """The field values by which affected entries of an answer log are found; empty: read all
        entries.

        Empty where no entry of it can be touched.
        """
        if origin in self.logs:
            return ((),)
        if self.threshold:
            return ((self.threshold,),)
        digests = {*self.digests, *(digest for _, digest, _ in self.places)}
        return tuple((digest,) for digest in sorted(digests))

    def touches(self, origin: str, values: Mapping[str, str]) -> bool:
        """Say whether an opened entry of an answer log is touched."""
        if origin in self.logs:
            return True
        if self.threshold:
            return values["threshold"] == self.threshold
        place = (values["model"], values["version_digest"], values["pointer_sequence"])
        return values["version_digest"] in self.digests or place in self.places


def radius_of_key(
    keyid: str, entries: Iterable[ProvedEntry], policies: Sequence[Policy]
) -> BlastRadius:
    """Return what the key of that id signed and what depends on it; `entries` are the whole log.

    Raises SealgateError: KEY_UNKNOWN where no policy lists it; DIGEST_MISMATCH where the documents
    of an entry are not all shown.
    """
    reach = BlastRadius()
    key = _find_key(keyid, policies)
    logs = {vkey for policy in policies for vkey in (policy.registry_log, *policy.answer_logs)}
    for verifier in map(Verifier.from_vkey, sorted(logs)):
        if verifier.key == key:
            reach.logs.add(verifier.name)
            reach.found.append(AffectedEntry("log", verifier.name, 0, "signs its checkpoints"))
    return _trace(reach, entries, lambda entry: list(_signed(entry, key)))


def radius_of_version(name: str, entries: Iterable[ProvedEntry]) -> BlastRadius:
    """Return what depends on a version, given as `{model}/{version}` or as its manifest's digest.

    Raises SealgateError(VERSION_UNKNOWN).
    """
    model, _, number = name.partition("/")
    subject = f"models/{model}/versions/{number}"

    def is_it(entry: ProvedEntry) -> list[str]:
        if entry.event != "version.registered":
            return []
        return ["is it"] if name == entry.body["digest"] or subject == entry.subject else []

    reach = _trace(BlastRadius(), entries, is_it)
    if not reach.digests:
        raise SealgateError(Reason.VERSION_UNKNOWN, name)
    return reach


def radius_of_threshold(threshold: float) -> BlastRadius:
    """Return which answers a detector judged by this threshold; see `add_judged`."""
    return BlastRadius(threshold=repr(threshold))


def add_judged(
    reach: BlastRadius, digests: Collection[str], entries: Iterable[ProvedEntry]
) -> None:
    """Add the versions, by digest, whose answers were judged by the threshold."""

    def judged(entry: ProvedEntry) -> list[str]:
        is_it = entry.event == "version.registered" and entry.body["digest"] in digests
        return ["its detector has the threshold"] if is_it else []

    _trace(reach, entries, judged)


def _trace(
    reach: BlastRadius, entries: Iterable[ProvedEntry], touched: Callable[[ProvedEntry], list[str]]
) -> BlastRadius:
    versions: set[str] = set()
    for entry in entries:
        hows = touched(entry)
        if not hows and _version_of(entry) in versions:
            hows = ["names a version that is touched"]
        what = entry.subject
        if hows and entry.event == "version.registered":
            versions.add(entry.subject)
            reach.digests.add(str(entry.body["digest"]))
        if hows and entry.event == "pointer.moved":
            what = f"{entry.subject} move {entry.body['sequence']}"
            model, _ = alias_of(entry.subject)
            place = (model, str(entry.body["digest"]), str(entry.body["sequence"]))
            reach.places.add(place)
        kind = _KINDS.get(entry.event, entry.event)
        reach.found += [AffectedEntry(kind, what, entry.index, how) for how in hows]
    return reach


def _version_of(entry: ProvedEntry) -> str:
    """The subject of the version that a proposal, a pointer, a revocation or evidence names."""
    if entry.event in ("version.revoked", "evidence.attached"):
        return entry.subject
    if entry.event not in ("proposal.created", "pointer.moved"):
        return ""
    model, _ = alias_of(entry.subject)
    return f"models/{model}/versions/{entry.body['version']}"


_KINDS = {
    "policy.accepted": "policy",
    "version.registered": "version",
    "proposal.created": "proposal",
    "approval.added": "approval",
    "proposal.rejected": "rejection",
    "proposal.withdrawn": "withdrawal",
    "comment.added": "comment",
    "pointer.moved": "pointer",
    "version.revoked": "revocation",
    "engine.counted": "engine count",
    "request.allowed": "allowance",
    "evidence.attached": "later evidence",
}


def _find_key(keyid: str, policies: Sequence[Policy]) -> PublicKey | Passkey:
    for policy in reversed(policies):
        if policy.lists(keyid):
            return policy.keys.get(keyid) or policy.webauthn.keys[keyid]
        for vkey in (policy.registry_log, *policy.answer_logs):
            key = Verifier.from_vkey(vkey).key
            if key.keyid == keyid:
                return key
    raise SealgateError(Reason.KEY_UNKNOWN, keyid)


def _signed(entry: ProvedEntry, key: PublicKey | Passkey) -> Iterator[str]:
    """Yield the documents of an entry that the key has signed."""
    body = entry.body
    if entry.event == "version.registered":
        signature = entry.document(str(body["signature"]))
        if isinstance(key, PublicKey) and oms.names(signature, key):
            yield "signed its files"
        for digest in body["evidence"]:
            envelope = Envelope.decode(entry.document(digest))
            if _by(envelope, key):
                yield f"signed its evidence {Evidence.decode(envelope.payload).kind}"
    elif entry.event == "pointer.moved":
        bundle = PointerBundle.decode(entry.document(str(body["bundle"])))
        yield from _signed_bundle(bundle, key)
        if bundle.returned and _by(bundle.returned.pointer, key):
            yield "signed the promotion that it returns to"
    elif "envelope" in body and _by(Envelope.decode(entry.document(str(body["envelope"]))), key):
        yield "signed it"


def _signed_bundle(bundle: PointerBundle, key: VerificationKey) -> Iterator[str]:
    if _by(bundle.pointer, key):
        yield "signed it"
    if _by(bundle.proposal, key):
        yield "signed its proposal"
    if any(_by(approval, key) for approval in bundle.approvals):
        yield "signed an approval of it"


def _by(envelope: Envelope, key: VerificationKey) -> bool:
    return key.keyid in {keyid for keyid, _ in envelope.signatures}
