"""The root, principals and signers of models that a policy names, and its rules for promotions.

The section `webauthn` lists passkeys with which people sign, beside or instead of private keys. A
passkey is listed by its key id, as other keys are under `keys`, and belongs to the person who has
that id among theirs. Only people have passkeys: no service and no root signs with one.

The section `model_signers` says who may have signed a model folder that is imported:

    {"vendor": "<P-256 key as PEM>",
     "lab": {"identity": "release@lab.example", "issuer": "https://accounts.lab.example",
             "trusted_root": "sha256:<of the file trusted_root.json>"}}

An identity is one of Sigstore's: whom a certificate names, and the OpenID provider that vouched for
it. `trusted_root` pins the file with the authorities and logs of that Sigstore instance.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields
from sealgate.trust.canonical import raw
from sealgate.trust.fields import SPIFFE_ID, check_name
from sealgate.trust.keys import ECDSA_P256, PublicKey
from sealgate.trust.keys.webauthn import Passkey
from sealgate.trust.policy.rights import STAFF_ROLES

# People's roles, then those of services.
ALL_ROLES = frozenset(
    {"client", "auditor", "publisher", "approver", "admin"}
    | {"freshness", "evidence", "rollback", "log", "engine", "monitor", "events"}
)


class Consequence:
    """The possible consequences of a verdict, a finding in an answer, a session or a limit.

    Each section of the policy takes some of them, and says in its rules what they mean there.
    """

    RECORD = "record"
    FLAG = "flag"
    LABEL_ONLY = "label-only"
    """The most likely class leaves, and nothing else of the answer."""
    STEP_UP = "step-up"
    """The answer is withheld until a second person allows the request (see `allowances`)."""
    BLOCK = "block"
    MASK = "mask"
    CUT = "cut"
    SLOW = "slow"
    ALERT = "alert"
    ALARM = "alarm"
    ROLLBACK = "rollback"


_ACTIONS = frozenset(
    {Consequence.BLOCK, Consequence.LABEL_ONLY, Consequence.FLAG, Consequence.RECORD}
)

KEYID = re.compile(r"[0-9a-f]{64}")
_IDENTITY = re.compile(
    r"mtls:[^\x00-\x1f\x7f]{1,256}|jwt:[^\s\x00-\x1f\x7f]{1,512} \S{1,256}|spiffe:" + SPIFFE_ID
)
_PEOPLE = STAFF_ROLES | {"client"}
_LONGEST = 500
_SIGSTORE_FIELDS = ("identity", "issuer", "trusted_root")


def invalid(detail: str) -> SealgateError:
    """Return the refusal of a policy that contradicts itself."""
    return SealgateError(Reason.POLICY_INVALID, detail)


@dataclass(frozen=True, slots=True)
class PolicyRoot:
    """The key ids that sign the next policy, and how many of them must."""

    keys: tuple[str, ...]
    threshold: int

    def __post_init__(self) -> None:
        _check_keyids(self.keys)
        if not 1 <= fields.integer(self.threshold) <= len(self.keys):
            raise invalid("the root's threshold is not between 1 and the number of its keys")

    def check_holders(self, holders: Mapping[str, "Principal"]) -> None:
        """Check that no principal, by key id, holds two of the keys. Raises SealgateError."""
        names = [holders[keyid].name for keyid in self.keys if keyid in holders]
        if len(set(names)) != len(names):
            raise invalid("somebody holds two of the root's keys: people count, not keys")

    def to_json(self) -> dict[str, Any]:
        return {"keys": list(self.keys), "threshold": self.threshold}

    @classmethod
    def from_json(cls, value: object) -> Self:
        outer = fields.record(value, ("keys", "threshold"))
        return cls(fields.texts(outer["keys"]), outer["threshold"])


@dataclass(frozen=True, slots=True)
class Principal:
    """A person or a service: its roles, key ids, and the identities by which it is known.

    An identity is `mtls:<common name>`, `spiffe:<SPIFFE ID>` or `jwt:<issuer> <subject>`.
    """

    name: str
    roles: tuple[str, ...]
    keys: tuple[str, ...]
    identities: tuple[str, ...]

    def __post_init__(self) -> None:
        check_name(self.name)
        if not ALL_ROLES.issuperset(fields.unique(self.roles)):
            raise invalid(f"{self.name} has a role that does not exist")
        _check_keyids(self.keys)
        for identity in fields.unique(self.identities):
            if not _IDENTITY.fullmatch(identity):
                raise invalid(f"{self.name} has an identity of another form")

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "roles": list(self.roles),
            "keys": list(self.keys),
            "identities": list(self.identities),
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        outer = fields.record(value, ("name", "roles", "keys", "identities"))
        lists = {name: fields.texts(outer[name]) for name in ("roles", "keys", "identities")}
        return cls(name=outer["name"], **lists)


@dataclass(frozen=True, slots=True)
class PolicyRules:
    """Rules for approvals, verdicts and the lifetime of statements.

    `approvals`: alias to the number of people who must approve. `adversarial` and `suspect`:
    what such a verdict leads to, one of _ACTIONS. `freshness_seconds`: the longest life of a
    freshness statement. `grace_seconds`: how long after it a gateway may serve what it has.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ("promotion", "screening", "pointer")

    approvals: Mapping[str, int]
    adversarial: str
    suspect: str
    freshness_seconds: int
    grace_seconds: int

    def __post_init__(self) -> None:
        for alias, count in self.approvals.items():
            check_name(alias)
            fields.integer(count, 1)
        if not {self.adversarial, self.suspect} <= _ACTIONS:
            raise invalid("a verdict leads to something that does not exist")
        fields.integer(self.freshness_seconds, 1)
        fields.integer(self.grace_seconds)

    def action(self, verdict: str) -> str:
        """Return what a verdict leads to; a clean one is recorded.

        Raises SealgateError(POLICY_INVALID) for a verdict of which the policy says nothing.
        """
        actions = {
            "clean": Consequence.RECORD,
            "suspect": self.suspect,
            "adversarial": self.adversarial,
        }
        if verdict not in actions:
            raise invalid("it has no rule for the verdict")
        return actions[verdict]

    def to_json(self) -> dict[str, Any]:
        return {
            "promotion": {"approvals": dict(self.approvals)},
            "screening": {"adversarial": self.adversarial, "suspect": self.suspect},
            "pointer": {
                "freshness_seconds": self.freshness_seconds,
                "grace_seconds": self.grace_seconds,
            },
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        outer = fields.record(value, cls.FIELDS)
        promotion = fields.record(outer["promotion"], ("approvals",))
        screening = fields.record(outer["screening"], ("adversarial", "suspect"))
        pointer = fields.record(outer["pointer"], ("freshness_seconds", "grace_seconds"))
        return cls(
            approvals=fields.mapping(promotion["approvals"]),
            adversarial=fields.text(screening["adversarial"]),
            suspect=fields.text(screening["suspect"]),
            **pointer,
        )


def _check_keyids(keyids: tuple[str, ...]) -> None:
    for keyid in fields.unique(keyids):
        if not KEYID.fullmatch(keyid):
            raise fields.malformed("a key id is not 64 hexadecimal digits")


@dataclass(frozen=True, slots=True)
class Passkeys:
    """The passkeys by key id. Raises SealgateError: DOCUMENT_MALFORMED or POLICY_INVALID."""

    keys: Mapping[str, Passkey]

    def __post_init__(self) -> None:
        for keyid, passkey in self.keys.items():
            if keyid != passkey.keyid:
                raise invalid("a passkey is listed under an id that is not its own")
        credentials = {(key.rp_id, key.credential) for key in self.keys.values()}
        if len(credentials) != len(self.keys):
            raise invalid("two passkeys have one credential id")

    def check_holders(self, people: Iterable[Principal]) -> None:
        """Check that none but people hold passkeys. Raises SealgateError(POLICY_INVALID)."""
        for person in people:
            if self.keys.keys() & set(person.keys) and not _PEOPLE.issuperset(person.roles):
                raise invalid(f"{person.name} is a service and has a passkey")

    def to_json(self) -> dict[str, Any]:
        return {keyid: passkey.to_json() for keyid, passkey in self.keys.items()}

    @classmethod
    def from_json(cls, value: object) -> Self:
        if not value:
            raise fields.malformed("a section without a passkey")
        items = fields.mapping(value).items()
        return cls({keyid: Passkey.from_json(item) for keyid, item in items})


NO_PASSKEYS = Passkeys({})


@dataclass(frozen=True, slots=True)
class SigstoreIdentity:
    """`identity` is an e-mail address or a URI, `issuer` the https URL of an OpenID provider, and
    `trusted_root` the digest of a file. Raises SealgateError(DOCUMENT_MALFORMED).
    """

    identity: str
    issuer: str
    trusted_root: str

    def __post_init__(self) -> None:
        if not 0 < len(self.identity) <= _LONGEST:
            raise fields.malformed("an identity is a text")
        issuer = urlsplit(self.issuer)
        if issuer.scheme != "https" or not issuer.hostname or len(self.issuer) > _LONGEST:
            raise fields.malformed("an identity's issuer is an https URL")
        raw(self.trusted_root)

    def to_json(self) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "issuer": self.issuer,
            "trusted_root": self.trusted_root,
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        item = fields.record(value, _SIGSTORE_FIELDS)
        return cls(*(fields.text(item[name]) for name in _SIGSTORE_FIELDS))


ModelSigner = PublicKey | SigstoreIdentity


@dataclass(frozen=True, slots=True)
class ModelSigners:
    """`listed`: the name of a maker of models to the P-256 key, or to the Sigstore identity, with
    which it signs folders.

    Raises SealgateError: DOCUMENT_MALFORMED or NAME_MALFORMED.
    """

    listed: Mapping[str, ModelSigner]

    def __post_init__(self) -> None:
        for name, signer in self.listed.items():
            check_name(name)
            if isinstance(signer, PublicKey) and signer.scheme != ECDSA_P256:
                raise fields.malformed(f"{name} signs models with a P-256 key")

    def to_json(self) -> dict[str, Any]:
        return {
            name: signer.pem if isinstance(signer, PublicKey) else signer.to_json()
            for name, signer in self.listed.items()
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        return cls({name: _signer(item) for name, item in fields.mapping(value).items()})


def _signer(value: Any) -> ModelSigner:
    if isinstance(value, str):
        return PublicKey.from_pem(value)
    return SigstoreIdentity.from_json(value)
