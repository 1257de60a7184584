"""Finds secrets and personal data in a text.

Patterns of secrets are those of Yelp's detect-secrets, but for three that would take quadratic
time, and some for keys that it does not know.
Numbers of people and accounts count only with the right check digits, by python-stdnum; e-mail
addresses and telephone numbers by their form.
"""

import functools
import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stdnum import iban, luhn
from stdnum.be import nn
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.it import codicefiscale
from stdnum.pl import pesel
from stdnum.us import ssn

from sealgate.trust.policy import FindingKind

_DETECTORS = {
    "artifactory": "ArtifactoryDetector",
    "aws": "AWSKeyDetector",
    "azure_storage_key": "AzureStorageKeyDetector",
    "basic_auth": "BasicAuthDetector",
    "discord": "DiscordBotTokenDetector",
    "github_token": "GitHubTokenDetector",
    "gitlab_token": "GitLabTokenDetector",
    "mailchimp": "MailchimpDetector",
    "pypi_token": "PypiTokenDetector",
    "sendgrid": "SendGridDetector",
    "slack": "SlackDetector",
    "square_oauth": "SquareOAuthDetector",
    "stripe": "StripeDetector",
    "telegram_token": "TelegramBotTokenDetector",
    "twilio": "TwilioKeyDetector",
}
# Of a key in PEM the whole block, as far as it has come.
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY[A-Z ]{0,10}-----"
    r"(?:.*?-----END [A-Z0-9 ]{0,50}-----|.*)",
    re.DOTALL,
)
# Models may be made to write what costs time, so each pattern takes linear time at most.
_OWN_SECRETS = (
    _PRIVATE_KEY,
    # JSON Web Tokens
    re.compile(
        r"(?<![A-Za-z0-9_-])(?>[A-Za-z0-9_-]*?eyJ)[A-Za-z0-9_-]++={0,2}\."
        r"[A-Za-z0-9_-]++[A-Za-z0-9_.+/=-]*"
    ),
    # npm
    re.compile(r"/:_authToken=\s*(?:npm_\S+|[A-Fa-f0-9-]{36})"),
    # OpenAI, Anthropic
    re.compile(
        r"sk-(?:(?:ant|proj|svcacct|admin)-[\w-]{40,}"
        r"|(?>[\w-]{0,80}?T3BlbkFJ)[A-Za-z0-9]{20})"
    ),
    # Google, GitHub's of the newer form, Hugging Face
    re.compile(r"AIza[\w-]{35}|github_pat_\w{50,}|hf_[A-Za-z0-9]{34}"),
)
# The rest of a key that is longer than its pattern.
_REST = re.compile(r"(?<=[A-Za-z0-9_+/=-])[A-Za-z0-9_+/=-]+")
_DOMAIN = re.compile(r"@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}\b")
_LONGEST_LOCAL = 64
_PHONE = re.compile(r"(?<![^\W_]|\+)\+\d(?:[ ().-]{0,2}\d){7,14}(?![^\W_])")
_DIGIT = re.compile(r"\d")
# A letter or a digit: beside a number, `_` is a mark of emphasis.
_FROM, _TO = r"(?<![^\W_])", r"(?![^\W_])"
_GAP = "(?: ?[._-] ?| )?"
# By what each issuer's numbers begin with, and how many digits they have.
_CARD = re.compile(
    rf"(?<!\d)(?:3[47]\d\d{_GAP}\d{{6}}{_GAP}\d{{5}}"
    rf"|(?:4\d{{3}}|5[1-5]\d\d|2[2-7]\d\d|6\d{{3}}|35\d\d)(?:{_GAP}\d{{4}}){{3}})(?!\d)"
)
_IBAN = re.compile(rf"[A-Z]{{2}}\d{{2}}(?:[ -]?[A-Z0-9]){{11,30}}{_TO}", re.IGNORECASE)


def _number(form: str) -> re.Pattern[str]:
    """A number of this form, with no letter or digit beside it, in capitals or not."""
    return re.compile(f"{_FROM}{form}{_TO}", re.IGNORECASE)


# A pattern for each kind of number, and the check of its digits.
_CHECKED: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = (
    (_IBAN, iban.is_valid),
    (_CARD, lambda text: luhn.is_valid(_digits(text))),
    (_number(r"\d{3}-\d{2}-\d{4}"), ssn.is_valid),
    (_number(r"[12] ?\d{2} ?\d{2} ?[0-9AB]{2} ?\d{3} ?\d{3} ?\d{2}"), nir.is_valid),
    (_number(r"\d{8}-?[A-Z]"), dni.is_valid),
    (_number(r"[XYZ]-?\d{7}-?[A-Z]"), nie.is_valid),
    (_number(r"[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]"), codicefiscale.is_valid),
    (_number(r"\d{2} ?\d{3} ?\d{3} ?\d{3}"), idnr.is_valid),
    (_number(r"\d{2}\.?\d{2}\.?\d{2}-?\d{3}\.?\d{2}"), nn.is_valid),
    (_number(r"\d{11}"), pesel.is_valid),
)
MOST_REMEMBERED = 4096
"""Of how many texts a recognizer remembers, for one answer, whether they are what it looks for."""
_SPACE = re.compile("[ -]")
# Of a JSON Web Token so much that all that follows belongs to it.
_TOKEN_HEAD = re.compile(r"[A-Za-z0-9_-]*eyJ[A-Za-z0-9_-]+={0,2}\.[A-Za-z0-9_-]")
_BEGINNING = 80


@dataclass(frozen=True, slots=True)
class AnswerFinding:
    """Something of a `kind` from `start` up to `end`, in characters."""

    kind: str
    start: int
    end: int


def secrets(text: str) -> Iterator[AnswerFinding]:
    """Keys and tokens of known forms, and private keys. Where one is longer than its form, all of
    it is found.
    """
    for pattern in (*_secret_patterns(), *_OWN_SECRETS):
        at = 0
        while found := pattern.search(text, at):
            rest = _REST.match(text, found.end())
            at = rest.end() if rest else found.end()
            yield AnswerFinding(FindingKind.SECRETS, found.start(), at)


class PersonalData:
    """Finds addresses, telephone numbers, and numbers of accounts, cards and people. It remembers
    what it has checked, for an answer is looked at again with each token.
    """

    def __init__(self) -> None:
        self._is_valid = functools.lru_cache(MOST_REMEMBERED)(_is_valid)

    def __call__(self, text: str) -> Iterator[AnswerFinding]:
        if "@" in text:
            yield from _addresses(text)
        if not _DIGIT.search(text):
            return
        if "+" in text:
            yield from _found(FindingKind.PERSONAL, _PHONE, text)
        for kind, (pattern, _) in enumerate(_CHECKED):
            yield from self._checked(kind, pattern, text)

    def _checked(self, kind: int, pattern: re.Pattern[str], text: str) -> Iterator[AnswerFinding]:
        """The matches that are valid. Where one is not, another may begin within it."""
        at = 0
        while match := pattern.search(text, at):
            start, ends = match.start(), [match.end()]
            if pattern is _IBAN:
                # Other words may follow.
                ends += [start + place.start() for place in _SPACE.finditer(match.group())]
            end = next((each for each in ends if self._is_valid(kind, text[start:each])), None)
            if end is not None:
                yield AnswerFinding(FindingKind.PERSONAL, start, end)
            at = end or start + 1


def _is_valid(kind: int, text: str) -> bool:
    return _CHECKED[kind][1](text)


def beginning_of(finding: str) -> str:
    """A short text that says of a finding what it is: with the rest behind it, that is found again,
    however much of it has left in between.
    """
    return "eyJ0.0" if _TOKEN_HEAD.match(finding) else finding[:_BEGINNING]


def _addresses(text: str) -> Iterator[AnswerFinding]:
    """E-mail addresses: a domain, and as much before it as may be a name there."""
    for domain in _DOMAIN.finditer(text):
        start = at = domain.start()
        while start > max(0, at - _LONGEST_LOCAL) and _is_local(text[start - 1]):
            start -= 1
        if start < at:
            yield AnswerFinding(FindingKind.PERSONAL, start, domain.end())


def _is_local(letter: str) -> bool:
    return letter.isalnum() or letter in "_.+-"


def _found(kind: str, pattern: re.Pattern[str], text: str) -> Iterator[AnswerFinding]:
    return (AnswerFinding(kind, *match.span()) for match in pattern.finditer(text))


@functools.cache
def _secret_patterns() -> tuple[re.Pattern[str], ...]:
    found: list[re.Pattern[str]] = []
    for module, name in _DETECTORS.items():
        plugin = importlib.import_module(f"detect_secrets.plugins.{module}")
        found += getattr(plugin, name).denylist
    return tuple(found)


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))
