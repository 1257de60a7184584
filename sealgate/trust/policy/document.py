"""The policy document: people, keys, roles and rules, and its optional sections.

- A key under `keys` that no principal has any more still vouches for what it signed before.
- A key under `withdrawn` vouches only for the documents that are named there.
- A key that is no longer listed vouches for nothing.

`chain` says how a policy comes to be trusted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Self, TypeVar

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import PublicKey
from sealgate.trust.keys.webauthn import Passkey
from sealgate.trust.policy import validity
from sealgate.trust.policy.health_limits import HealthRules, OutcomeRules
from sealgate.trust.policy.principals import (
    NO_PASSKEYS,
    ModelSigner,
    ModelSigners,
    Passkeys,
    PolicyRoot,
    PolicyRules,
    Principal,
    invalid,
)
from sealgate.trust.policy.promotion_rules import (
    SERVING,
    UNKNOWN,
    EvidenceRules,
    RejectionRules,
    ReviewRules,
    RiskTiers,
    SecurityKeyRules,
    UnscreenedRules,
)
from sealgate.trust.policy.rights import WILDCARD, RequestedAction, Right, allows, check_known
from sealgate.trust.policy.screening import PLAIN, ScreeningPolicy, ScreeningRules
from sealgate.trust.policy.validity import FormerLogKeys, GracePeriod, Withdrawals
from sealgate.trust.times import parse_time
from sealgate.trust.transparency.ml_dsa import LogCosigners
from sealgate.trust.transparency.note import Verifier

_K = TypeVar("_K")

_KINDS: Mapping[str, Any] = {
    "risk": RiskTiers,
    "evidence": EvidenceRules,
    "rejections": RejectionRules,
    "review": ReviewRules,
    "webauthn": Passkeys,
    "security_keys": SecurityKeyRules,
    "unscreened": UnscreenedRules,
    "model_signers": ModelSigners,
    "withdrawn": Withdrawals,
    "health": HealthRules,
    "outcomes": OutcomeRules,
    "ml_dsa": LogCosigners,
    "former_logs": FormerLogKeys,
    "screens": ScreeningPolicy,
    "grace": GracePeriod,
}
OPTIONAL_SECTIONS = ("rights", *_KINDS)


def optional_sections(policy: Any) -> dict[str, Any]:
    """Return the sections that a policy has, each from the attribute of its name."""
    found = {name: getattr(policy, name) for name in _KINDS}
    sections: dict[str, Any] = {
        name: value.to_json()
        for name, value in found.items()
        if value not in (None, validity.NO_WITHDRAWALS, validity.NO_GRACE_PERIOD, NO_PASSKEYS)
    }
    if policy.rights is not None:
        sections["rights"] = [right.to_json() for right in policy.rights]
    return sections


def read_optional_sections(document: Mapping[str, Any]) -> dict[str, Any]:
    """Read the sections that a document has, by name. Raises SealgateError as each of them does."""
    found = {
        name: kind.from_json(document[name]) for name, kind in _KINDS.items() if name in document
    }
    if "rights" in document:
        found["rights"] = tuple(map(Right.from_json, fields.items(document["rights"])))
    return found


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy whose content has been checked; `open_policy` checks its signatures.

    `issued` and `expires` are times as text. `registry_log` and `answer_logs` are verifier keys
    of logs (C2SP signed note). `rights`, `risk` and `evidence` are None where there is no such
    section. Raises SealgateError: DOCUMENT_MALFORMED, NAME_MALFORMED or POLICY_INVALID.
    """

    TYPE: ClassVar[str] = "sealgate/policy/v1"
    PAYLOAD_TYPE: ClassVar[str] = "application/vnd.sealgate.policy.v1+json"

    version: int
    issued: str
    expires: str
    keys: Mapping[str, PublicKey]
    root: PolicyRoot
    principals: tuple[Principal, ...]
    rules: PolicyRules
    registry_log: str
    answer_logs: tuple[str, ...]
    rights: tuple[Right, ...] | None = None
    risk: RiskTiers | None = None
    evidence: EvidenceRules | None = None
    rejections: RejectionRules | None = None
    review: ReviewRules | None = None
    webauthn: Passkeys = NO_PASSKEYS
    security_keys: SecurityKeyRules | None = None
    unscreened: UnscreenedRules | None = None
    model_signers: ModelSigners | None = None
    health: HealthRules | None = None
    outcomes: OutcomeRules | None = None
    withdrawn: Withdrawals = validity.NO_WITHDRAWALS
    ml_dsa: LogCosigners | None = None
    former_logs: FormerLogKeys | None = None
    screens: ScreeningPolicy | None = None
    grace: GracePeriod = validity.NO_GRACE_PERIOD
    digest: str = field(init=False)
    _by_name: dict[str, Principal] = field(init=False, repr=False, compare=False)
    _by_identity: dict[str, Principal] = field(init=False, repr=False, compare=False)
    _by_key: dict[str, Principal] = field(init=False, repr=False, compare=False)
    _logs: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        fields.integer(self.version, 1)
        if parse_time(self.issued) >= parse_time(self.expires):
            raise invalid("it expires before it is issued")
        for keyid, key in self.keys.items():
            if keyid != key.keyid:
                raise invalid("a key is listed under an id that is not its own")
        vkeys = (self.registry_log, *self.answer_logs)
        self._index("_logs", [(Verifier.from_vkey(text).name, text) for text in vkeys])
        people = self.principals
        self._index("_by_name", [(p.name, p) for p in people])
        self._index("_by_identity", [(text, p) for p in people for text in p.identities])
        self._index("_by_key", [(keyid, p) for p in people for keyid in p.keys])
        if self.keys.keys() & self.webauthn.keys.keys():
            raise invalid("a key is listed twice, once as a passkey")
        listed = self.keys.keys() | self.webauthn.keys.keys()
        if not (listed >= self._by_key.keys() and self.keys.keys() >= set(self.root.keys)):
            raise invalid("a key is used that is not listed")
        self.webauthn.check_holders(people)
        if self.ml_dsa and not self._logs.keys() >= self.ml_dsa.keys.keys():
            raise invalid("an ML-DSA key of a log that is not named")
        if self.former_logs:
            self.former_logs.check(self._logs)
        for model, alias in self.outcomes.returned() if self.outcomes else ():
            if self.health is not None and self.health.limits(model, alias) is None:
                raise invalid(f"health does not name {model}/{alias}, which outcomes roll back")
        self.withdrawn.check_keys(listed - self._by_key.keys() - set(self.root.keys))
        tiers = self.risk.tiers if self.risk else frozenset()
        check_known(self.rights or (), self._by_name.keys(), tiers)
        if self.review:
            self.review.check_owners(self._by_name)
        self.root.check_holders(self._by_key)
        object.__setattr__(self, "digest", sha256(self.encode()))

    def _index(self, name: str, pairs: Sequence[tuple[str, Any]]) -> None:
        table = dict(pairs)
        if len(table) != len(pairs):
            raise invalid(f"something occurs twice that must not, in {name.strip('_')}")
        object.__setattr__(self, name, table)

    def encode(self) -> bytes:
        """Return the canonical JSON, the payload of a policy's envelope."""
        document = {
            "type": Policy.TYPE,
            "version": self.version,
            "issued": self.issued,
            "expires": self.expires,
            "keys": {keyid: key.pem for keyid, key in self.keys.items()},
            "root": self.root.to_json(),
            "principals": [principal.to_json() for principal in self.principals],
            "logs": {"registry": self.registry_log, "answers": list(self.answer_logs)},
        }
        return canonical.encode(document | optional_sections(self) | self.rules.to_json())

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read what `encode` writes. Raises SealgateError like the constructor."""
        names = ("version", "issued", "expires", "keys", "root", "principals", "logs")
        document = fields.mapping(canonical.decode(payload))
        extra = [name for name in OPTIONAL_SECTIONS if name in document]
        outer = fields.record(document, (*names, *PolicyRules.FIELDS, *extra), Policy.TYPE)
        keys = fields.mapping(outer["keys"])
        logs = fields.record(outer["logs"], ("registry", "answers"))
        return cls(
            version=outer["version"],
            issued=outer["issued"],
            expires=outer["expires"],
            keys={keyid: PublicKey.from_pem(fields.text(pem)) for keyid, pem in keys.items()},
            root=PolicyRoot.from_json(outer["root"]),
            principals=tuple(map(Principal.from_json, fields.items(outer["principals"]))),
            rules=PolicyRules.from_json({name: outer[name] for name in PolicyRules.FIELDS}),
            registry_log=fields.text(logs["registry"]),
            answer_logs=fields.texts(logs["answers"]),
            **read_optional_sections(document),
        )

    def principal(self, name: str) -> Principal:
        """Return the principal of that name. Raises SealgateError(PRINCIPAL_UNKNOWN)."""
        if name not in self._by_name:
            raise SealgateError(Reason.PRINCIPAL_UNKNOWN, "by name")
        return self._by_name[name]

    def by_identity(self, identity: str) -> Principal | None:
        """Return the principal that has an identity (see `Principal`), if any."""
        return self._by_identity.get(identity)

    def target(self, action: str, model: str, alias: str, environment: str = "") -> RequestedAction:
        """Return what somebody wants to do in an environment, with the model's risk tier."""
        tier = UNKNOWN if self.risk is None or model == WILDCARD else self.risk.tier(model)
        return RequestedAction(action, model, alias, environment, tier)

    def check_right(self, principal: Principal, target: RequestedAction) -> None:
        """Raises SealgateError(RIGHT_MISSING) where the section `rights` does not allow it."""
        if not allows(self.rights, principal.name, principal.roles, target):
            raise SealgateError(Reason.RIGHT_MISSING, f"{principal.name}: {target}")

    def allows_everywhere(self, principal: Principal, action: str) -> bool:
        """Say whether the rights allow an action on every model, whatever the environment."""
        return allows(self.rights, principal.name, principal.roles, RequestedAction(action))

    def vouches(self, keyid: str, digest: str) -> bool:
        """Whether what a key signed, the document of that digest, still counts."""
        return self.lists(keyid) and self.withdrawn.vouches(keyid, digest)

    def lists(self, keyid: str) -> bool:
        """Whether the policy lists a key or passkey of that id."""
        return keyid in self.keys or keyid in self.webauthn.keys

    def holder(self, keyid: str) -> Principal | None:
        """Return whose key it is, if anyone's."""
        return self._by_key.get(keyid)

    def keys_of(self, name: str) -> dict[str, PublicKey]:
        """Return the keys of a principal by key id; none if there is no such principal."""
        return self._keys_of(name, self.keys)

    def signing_keys_of(self, name: str) -> dict[str, PublicKey | Passkey]:
        """Return all that a person signs statements with, by key id: keys and passkeys."""
        return {**self._keys_of(name, self.keys), **self._keys_of(name, self.webauthn.keys)}

    def _keys_of(self, name: str, among: Mapping[str, _K]) -> dict[str, _K]:
        principal = self._by_name.get(name)
        named = principal.keys if principal else ()
        return {keyid: among[keyid] for keyid in named if keyid in among}

    def with_role(self, role: str) -> tuple[Principal, ...]:
        """Return the principals that have the role."""
        return tuple(p for p in self.principals if role in p.roles)

    def root_keys(self) -> dict[str, PublicKey]:
        """Return the keys that sign the next policy, by key id."""
        return {keyid: self.keys[keyid] for keyid in self.root.keys}

    def approvals_for(self, alias: str, model: str) -> int:
        """Return how many people must approve: the most that the alias or the risk tier asks for.

        Raises SealgateError(ALIAS_UNKNOWN) where the alias has no rule.
        """
        if alias not in self.rules.approvals:
            raise SealgateError(Reason.ALIAS_UNKNOWN, "the policy has no rule for the alias")
        least = self.rules.approvals[alias]
        return max(least, self.risk.approvals_for(alias, model)) if self.risk else least

    @property
    def rejections_stop_serving(self) -> bool:
        """Whether a rejection also stops a version that is live already."""
        return self.rejections is not None and self.rejections.stops == SERVING

    def review_days(self, model: str) -> int | None:
        """For how many days an approval of the model counts; None without end."""
        tier = self.risk.tier(model) if self.risk else UNKNOWN
        return self.review.days_of(tier) if self.review else None

    def owner(self, model: str) -> str:
        """The principal who answers for the model; empty where the policy names none."""
        return self.review.owners.get(model, "") if self.review else ""

    def demands_security_key(self, model: str) -> bool:
        """Whether a promotion of the model needs an approval made without a browser."""
        if self.security_keys is None:
            return False
        return self.security_keys.demand(self.risk.tier(model) if self.risk else UNKNOWN)

    @property
    def trusted_makers(self) -> Mapping[str, ModelSigner]:
        """The signers that vouch for models from elsewhere, by the makers' names."""
        return self.model_signers.listed if self.model_signers else {}

    def check_screening(self, model: str, screened: bool) -> None:
        """Raises SealgateError(SCREENING_REQUIRED) for a version without screening, unless the
        policy exempts the model's risk tier.
        """
        tier = self.risk.tier(model) if self.risk else UNKNOWN
        exempt = self.unscreened.tiers if self.unscreened else ()
        if not screened and tier not in exempt:
            named = f"of risk tier {tier}" if tier else "of no risk tier"
            raise SealgateError(Reason.SCREENING_REQUIRED, f"{model} is {named}")

    def screen(self, model: str) -> ScreeningRules:
        """Return what screening leads to for the model."""
        return self.screens.of(model) if self.screens else PLAIN

    def log_key(self, origin: str) -> str:
        """Return the verifier key of a log, and behind it a line for each former one; see
        `open_checkpoint`. Raises SealgateError(LOG_UNKNOWN).
        """
        if origin not in self._logs:
            raise SealgateError(Reason.LOG_UNKNOWN, "the policy names no such log")
        beside = self.ml_dsa.keys.get(origin) if self.ml_dsa else None
        current = f"{self._logs[origin]} {beside}" if beside else self._logs[origin]
        former = self.former_logs.keys.get(origin, ()) if self.former_logs else ()
        return "\n".join([current, *(each.line(beside) for each in former)])

    def is_answer_log(self, origin: str) -> bool:
        """Say whether the policy names an answer log of that origin."""
        return origin in self._logs and self._logs[origin] != self.registry_log

    def check_unexpired(self, now: datetime) -> None:
        """Check that the policy has not expired, as anything new requires; see `validity`. Raises
        SealgateError(POLICY_EXPIRED).
        """
        validity.check_unexpired(self.expires, now)

    def check_standing(self, now: datetime) -> None:
        """Check that the policy or its grace period has not ended, as existing things require; see
        `validity`. Raises SealgateError(POLICY_EXPIRED).
        """
        validity.check_standing(self.expires, self.grace, now)

    def check_begun(self, now: datetime) -> None:
        """Check that `issued` is not in the future. Raises SealgateError(POLICY_INVALID)."""
        validity.check_begun(self.issued, now)
