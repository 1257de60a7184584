"""The section `screens`: what a screening verdict leads to, for each model and role.

The section names models, or `*` for those that it does not name. A policy without it goes by the
two actions of its section `screening`, for everybody.

    {"digits": {"verdicts": {"adversarial": "step-up"},
                "roles": {"client": {"suspect": "label-only", "labels_only": true}},
                "step_up": {"role": "approver", "seconds": 900},
                "hold_ms": 40, "hold_stage": true, "suspect_hold_ms": 100,
                "sessions": {"search": "label-only", "extraction": "alert",
                             "seconds": 3600, "slow_ms": 500}},
     "assistant": {"guard": {"version": "sha256:...", "label": "injection", "action": "block"},
                   "answers": {"hold_tokens": 48, "secrets": "mask", "personal": "mask"}}}

Everything may be left out. `disagreement`, beside the two verdicts, is what else follows where the
INT8 model and the float32 one answer different classes. A role's rules go before the model's
`verdicts`, and these before `screening`. Of all of a caller's roles the strictest counts, that of
which nothing is said included: no role loosens another.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from sealgate.trust import fields
from sealgate.trust.canonical import check_digest
from sealgate.trust.fields import check_name
from sealgate.trust.policy.answers import AnswerRules
from sealgate.trust.policy.principals import ALL_ROLES, Consequence, PolicyRules, invalid
from sealgate.trust.policy.rights import WILDCARD

STRICTEST_FIRST = (
    Consequence.BLOCK,
    Consequence.STEP_UP,
    Consequence.LABEL_ONLY,
    Consequence.FLAG,
    Consequence.RECORD,
)
DISAGREEMENT = "disagreement"
# A session that looks like an attack may also be answered later, or told of and nothing else.
_SESSION_ACTIONS = (Consequence.BLOCK, Consequence.LABEL_ONLY, Consequence.SLOW, Consequence.ALERT)
_GUARD_ACTIONS = (Consequence.BLOCK, Consequence.FLAG, Consequence.RECORD)
_GUARD_FIELDS = ("version", "label", "action")
_WIDEST_MARGIN = 100_000
_MOST_CLASSES, _DIGITS = 16, 9
_LONGEST_ROLE = 64
_LONGEST_HOLD_MS = 60_000
_LONGEST_SECONDS = 30 * 86400


@dataclass(frozen=True, slots=True)
class VerdictActions:
    """The action for each verdict (None: set elsewhere); that for an answer in whose stead the
    float32 one leaves (None: nothing more); and whether every answer is reduced to its likeliest
    classes.
    """

    adversarial: str | None = None
    suspect: str | None = None
    disagreement: str | None = None
    labels_only: bool = False

    def __post_init__(self) -> None:
        for action in self.actions().values():
            if action is not None and fields.text(action) not in STRICTEST_FIRST:
                raise invalid("a verdict leads to something that does not exist")
        if not isinstance(self.labels_only, bool):
            raise fields.malformed("labels_only is true or false")

    def actions(self) -> dict[str, str | None]:
        return {
            "adversarial": self.adversarial,
            "suspect": self.suspect,
            DISAGREEMENT: self.disagreement,
        }

    def action(self, finding: str) -> str | None:
        return self.actions().get(finding)

    def to_json(self) -> dict[str, Any]:
        said: dict[str, Any] = {name: value for name, value in self.actions().items() if value}
        return said | ({"labels_only": True} if self.labels_only else {})

    @classmethod
    def from_json(cls, value: object) -> Self:
        return cls(**_said(value, cls.__slots__))


@dataclass(frozen=True, slots=True)
class StepUpRule:
    """People of which role may allow a request, and for how many seconds at most."""

    role: str
    seconds: int

    def __post_init__(self) -> None:
        if fields.text(self.role) not in ALL_ROLES:
            raise invalid("a step-up names a role that does not exist")
        if not 1 <= fields.integer(self.seconds) <= _LONGEST_SECONDS:
            raise fields.malformed("an allowance lasts a second to thirty days")

    def to_json(self) -> dict[str, Any]:
        return {"role": self.role, "seconds": self.seconds}

    @classmethod
    def from_json(cls, value: object) -> Self:
        return cls(**fields.record(value, ("role", "seconds")))


@dataclass(frozen=True, slots=True)
class SessionRules:
    """The consequences for a caller whose requests, taken together, look like a search for an
    adversarial input or like an extraction of the model: one of `block`, `label-only`, `slow`,
    `alert`, for `seconds` after it was found last. `slow_ms` is by how much `slow` delays.
    """

    search: str
    extraction: str
    seconds: int
    slow_ms: int = 0

    def __post_init__(self) -> None:
        for action in (self.search, self.extraction):
            if fields.text(action) not in _SESSION_ACTIONS:
                raise invalid("a session leads to something that does not exist")
        if not 1 <= fields.integer(self.seconds) <= _LONGEST_SECONDS:
            raise fields.malformed("what follows lasts a second to thirty days")
        if fields.integer(self.slow_ms) > _LONGEST_HOLD_MS:
            raise fields.malformed("nobody is delayed for longer than a minute")
        if (Consequence.SLOW in (self.search, self.extraction)) != bool(self.slow_ms):
            raise fields.malformed("slow, and nothing else, needs slow_ms")

    def to_json(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in ("search", "extraction", "seconds")}
        return values | ({"slow_ms": self.slow_ms} if self.slow_ms else {})

    @classmethod
    def from_json(cls, value: object) -> Self:
        names = ["search", "extraction", "seconds"]
        if "slow_ms" in fields.mapping(value):
            names.append("slow_ms")
        return cls(**fields.record(value, names))


@dataclass(frozen=True, slots=True)
class PromptClassifierRules:
    """A classifier that is shown every prompt of a language model: the version of that digest,
    which must be live under a name of its own; and what follows, `block`, `flag` or `record`, where
    it finds the class `label` in any part of a prompt.

    `roles`: for messages of a role, such as `tool`, another classifier in its place, or the same
    with another `margin`: by how many hundredths of a logit the class must lead all others. Roles
    without a classifier of their own are judged by the general one. `by_windows`: by how
    many hundredths more from so many windows on that the classifier is shown.
    """

    version: str
    label: str
    action: str
    roles: Mapping[str, "PromptClassifierRules"] = field(default_factory=dict)
    margin: int = 0
    by_windows: Mapping[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_digest(self.version)
        if not fields.text(self.label):
            raise fields.malformed("a guard's label is empty")
        if fields.text(self.action) not in _GUARD_ACTIONS:
            raise invalid("a guard leads to something that does not exist")
        if not all(fields.text(role, _LONGEST_ROLE) for role in self.roles):
            raise fields.malformed("a role of messages is empty")
        fields.integer(self.margin, -_WIDEST_MARGIN)
        if len(self.by_windows) > _MOST_CLASSES:
            raise fields.malformed("a guard has at most 16 classes of length")
        for windows, raised in self.by_windows.items():
            fields.integer(windows, 2)
            if fields.integer(raised, -_WIDEST_MARGIN) > _WIDEST_MARGIN:
                raise fields.malformed("a guard's margin is raised by at most 1,000 logits")
        if any(other.roles for other in self.roles.values()):
            raise fields.malformed("the guard of a role has no roles of its own")

    def to_json(self) -> dict[str, Any]:
        roles = {role: other.to_json() for role, other in self.roles.items()}
        said = {name: getattr(self, name) for name in _GUARD_FIELDS}
        by_windows = {str(windows): raised for windows, raised in self.by_windows.items()}
        more = {"roles": roles, "margin": self.margin, "by_windows": by_windows}
        return said | {name: value for name, value in more.items() if value}

    @classmethod
    def from_json(cls, value: object) -> Self:
        said = dict(fields.mapping(value))
        roles = fields.mapping(said.pop("roles", {}))
        others = {role: cls.from_json(other) for role, other in roles.items()}
        margin = fields.integer(said.pop("margin", 0), -_WIDEST_MARGIN)
        by_windows = fields.mapping(said.pop("by_windows", {})).items()
        return cls(
            **fields.record(said, _GUARD_FIELDS),
            roles=others,
            margin=margin,
            by_windows={_whole(windows): raised for windows, raised in by_windows},
        )


@dataclass(frozen=True, slots=True)
class ScreeningRules:
    """Everything about one model. `hold_ms` is how long after its arrival a request is answered at
    the earliest, so that the time of an answer does not tell what screening did (0: at once).
    `hold_stage` holds it, too, for as long as screening's slower stage takes, and `suspect_hold_ms`
    what is suspect or worse, so that a search near a border is slow.
    """

    verdicts: VerdictActions = VerdictActions()
    roles: Mapping[str, VerdictActions] = field(default_factory=dict)
    step_up: StepUpRule | None = None
    hold_ms: int = 0
    hold_stage: bool = False
    suspect_hold_ms: int = 0
    sessions: SessionRules | None = None
    guard: PromptClassifierRules | None = None
    answers: AnswerRules | None = None

    def __post_init__(self) -> None:
        if not ALL_ROLES.issuperset(self.roles):
            raise invalid("screens name a role that does not exist")
        if max(map(fields.integer, (self.hold_ms, self.suspect_hold_ms))) > _LONGEST_HOLD_MS:
            raise fields.malformed("no answer is held for longer than a minute")
        if not isinstance(self.hold_stage, bool):
            raise fields.malformed("hold_stage is true or false")
        said = [self.verdicts, *self.roles.values()]
        steps = any(Consequence.STEP_UP in item.actions().values() for item in said)
        if steps and self.step_up is None:
            raise invalid("a verdict steps up, and nobody may allow it")

    def action(self, verdict: str, roles: Iterable[str], rules: PolicyRules) -> str:
        """Return what a verdict leads to for a caller with these roles. Raises POLICY_INVALID."""
        general = self.verdicts.action(verdict) or rules.action(verdict)
        said = (self.roles[role].action(verdict) if role in self.roles else None for role in roles)
        return min([action or general for action in said] or [general], key=STRICTEST_FIRST.index)

    def action_without_block(self, verdict: str, roles: Iterable[str], rules: PolicyRules) -> str:
        """The same where the version says that its verdicts do not block, as those on texts: what
        blocks leads to what `suspect` leads to, or to the likeliest class alone if that blocks too.
        So nothing more leaves for a worse verdict. Raises POLICY_INVALID.
        """
        said = tuple(roles)
        action = self.action(verdict, said, rules)
        if action == Consequence.BLOCK:
            action = self.action("suspect", said, rules)
        return Consequence.LABEL_ONLY if action == Consequence.BLOCK else action

    def with_disagreement(self, action: str, roles: Iterable[str]) -> str:
        """The stricter of a verdict's action and of what disagreement leads to."""
        said = [self.roles[role].disagreement for role in roles if role in self.roles]
        more = [each for each in (*said, self.verdicts.disagreement) if each]
        return min([action, *more], key=STRICTEST_FIRST.index)

    def labels_only(self, roles: Iterable[str]) -> bool:
        """Whether a caller with these roles gets labels, whatever the verdict."""
        said = [self.verdicts, *(self.roles[role] for role in roles if role in self.roles)]
        return any(item.labels_only for item in said)

    def to_json(self) -> dict[str, Any]:
        values: dict[str, Any] = {
            "verdicts": self.verdicts.to_json(),
            "roles": {role: item.to_json() for role, item in self.roles.items()},
            "step_up": self.step_up and self.step_up.to_json(),
            "hold_ms": self.hold_ms,
            "hold_stage": self.hold_stage,
            "suspect_hold_ms": self.suspect_hold_ms,
            "sessions": self.sessions and self.sessions.to_json(),
            "guard": self.guard and self.guard.to_json(),
            "answers": self.answers and self.answers.to_json(),
        }
        return {name: value for name, value in values.items() if value}

    @classmethod
    def from_json(cls, value: object) -> Self:
        said = _said(value, cls.__slots__)
        roles = fields.mapping(said.get("roles", {}))
        kinds: dict[str, Any] = {
            "verdicts": VerdictActions,
            "step_up": StepUpRule,
            "sessions": SessionRules,
            "guard": PromptClassifierRules,
            "answers": AnswerRules,
        }
        parts = {name: kind.from_json(said[name]) for name, kind in kinds.items() if name in said}
        parts["roles"] = {role: VerdictActions.from_json(item) for role, item in roles.items()}
        return cls(**{**said, **parts})


PLAIN = ScreeningRules()
"""That of a model of which nothing is said."""


@dataclass(frozen=True, slots=True)
class ScreeningPolicy:
    """`models`: model or `*`, to its screen. Raises SealgateError: DOCUMENT_MALFORMED,
    NAME_MALFORMED or POLICY_INVALID.
    """

    models: Mapping[str, ScreeningRules]

    def __post_init__(self) -> None:
        for model in self.models:
            if model != WILDCARD:
                check_name(model)

    def of(self, model: str) -> ScreeningRules:
        """Return the model's own screen, or that of `*`, or one that says nothing."""
        return self.models.get(model, self.models.get(WILDCARD, PLAIN))

    def to_json(self) -> dict[str, Any]:
        return {model: screen.to_json() for model, screen in self.models.items()}

    @classmethod
    def from_json(cls, value: object) -> Self:
        found = fields.mapping(value).items()
        return cls({model: ScreeningRules.from_json(screen) for model, screen in found})


def _whole(text: str) -> int:
    """The number that a name spells, in one way only. Raises DOCUMENT_MALFORMED."""
    if not text.isdecimal() or not text.isascii() or text != str(int(text[:_DIGITS])):
        raise fields.malformed("a number of windows is expected")
    return int(text)


def _said(value: object, names: Iterable[str]) -> dict[str, Any]:
    """A record of some of these names; one that says nothing must not be there."""
    given = fields.mapping(value)
    record = fields.record(given, [name for name in names if name in given])
    if not all(record.values()):
        raise fields.malformed("a field is there that says nothing")
    return record
