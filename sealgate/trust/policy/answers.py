"""The rules of `screens` for answers: what may not leave a language model, and what follows.

{"assistant": {"answers": {"hold_tokens": 48, "secrets": "mask", "personal": "mask",
                           "prompt": "cut", "canary": "block", "canaries": ["sha256:..."],
                           "classifier": {"version": "sha256:...", "label": "unsafe",
                                          "action": "cut"}}}}
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from sealgate.trust import fields
from sealgate.trust.canonical import check_digest
from sealgate.trust.policy.principals import Consequence, invalid


class FindingKind:
    """The kinds of findings in an answer."""

    SECRETS = "secrets"
    PERSONAL = "personal"
    PROMPT = "prompt"
    """The prompt that the answer repeats."""
    CANARY = "canary"
    CLASSIFIED = "classified"
    """A classifier's finding; the others have an action of their own."""


_ACTIONS = frozenset(
    {Consequence.BLOCK, Consequence.CUT, Consequence.MASK, Consequence.FLAG, Consequence.RECORD}
)
_FINDINGS = (FindingKind.SECRETS, FindingKind.PERSONAL, FindingKind.PROMPT, FindingKind.CANARY)
_CLASSIFIER_ACTIONS = _ACTIONS - {Consequence.MASK}
_CLASSIFIER_FIELDS = ("version", "label", "action")
HOLD_TOKENS = 48
_MOST_TOKENS = 512
_MOST_CANARIES = 64


@dataclass(frozen=True, slots=True)
class AnswerClassifierRules:
    """A classifier that reads every answer: the version of that digest, which must be live under a
    name of its own; and what follows, as of other findings but `mask`, where it finds the class
    `label`.
    """

    version: str
    label: str
    action: str

    def __post_init__(self) -> None:
        check_digest(self.version)
        if not fields.text(self.label):
            raise fields.malformed("the label of a classifier of answers is empty")
        if fields.text(self.action) not in _CLASSIFIER_ACTIONS:
            raise invalid("a classifier of answers leads to something that does not exist")

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _CLASSIFIER_FIELDS}

    @classmethod
    def from_json(cls, value: object) -> Self:
        return cls(**fields.record(fields.mapping(value), _CLASSIFIER_FIELDS))


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """`actions`: each kind of finding to what follows: `block` refuses the answer, as far as it has
    not left; `cut` ends it before the finding; `mask` replaces the finding; `flag` makes the
    verdict `suspect`; `record` is told of in logs and in the answer's entry. `hold_tokens`: how
    many tokens are held back, so that a finding is seen before its beginning leaves. `canaries`:
    digests of words that an operator has put where no answer may repeat them. `classifier` reads
    answers besides.

    Raises SealgateError: DOCUMENT_MALFORMED or POLICY_INVALID.
    """

    actions: Mapping[str, str]
    hold_tokens: int = HOLD_TOKENS
    canaries: tuple[str, ...] = field(default=())
    classifier: AnswerClassifierRules | None = None

    def __post_init__(self) -> None:
        found = self.actions or self.classifier
        if not found or not set(self.actions) <= set(_FINDINGS):
            raise fields.malformed("rules for answers name what is looked for")
        if not {fields.text(action) for action in self.actions.values()} <= _ACTIONS:
            raise invalid("a finding in an answer leads to something that does not exist")
        if not 1 <= fields.integer(self.hold_tokens) <= _MOST_TOKENS:
            raise fields.malformed("an answer is held back for 1 to 512 tokens")
        if len(fields.unique(self.canaries)) > _MOST_CANARIES:
            raise fields.malformed("there are more than 64 canaries")
        for digest in self.canaries:
            check_digest(digest)
        if (FindingKind.CANARY in self.actions) != bool(self.canaries):
            raise fields.malformed("canaries and what follows from them belong together")

    def to_json(self) -> dict[str, Any]:
        said: dict[str, Any] = {"hold_tokens": self.hold_tokens, **self.actions}
        said |= {"canaries": list(self.canaries)} if self.canaries else {}
        return said | ({"classifier": self.classifier.to_json()} if self.classifier else {})

    @classmethod
    def from_json(cls, value: object) -> Self:
        given = fields.mapping(value)
        known = (*_FINDINGS, "canaries", "classifier")
        read = fields.record(given, ["hold_tokens", *(name for name in known if name in given)])
        actions = {name: fields.text(read[name]) for name in _FINDINGS if name in read}
        canaries = fields.texts(read["canaries"]) if "canaries" in read else ()
        said = read.get("classifier")
        classifier = None if said is None else AnswerClassifierRules.from_json(said)
        return cls(actions, read["hold_tokens"], canaries, classifier)
