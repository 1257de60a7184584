"""Finds secrets, personal data, repeated prompts and canaries in a text.

Patterns of secrets are those of Yelp's detect-secrets, but for two that would take quadratic time.
Numbers of people and accounts count only with the right check digits, by python-stdnum; e-mail
addresses and telephone numbers by their form.
"""

import functools
import hashlib
import importlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from stdnum import iban, luhn
from stdnum.be import nn
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.it import codicefiscale
from stdnum.pl import pesel
from stdnum.us import ssn

from sealgate.trust.policy.answers import CANARY, PERSONAL, PROMPT, SECRETS

GRAM = 8
"""How many words in a row of a prompt an answer may not repeat."""
_DETECTORS = {
    "artifactory": "ArtifactoryDetector",
    "aws": "AWSKeyDetector",
    "azure_storage_key": "AzureStorageKeyDetector",
    "basic_auth": "BasicAuthDetector",
    "discord": "DiscordBotTokenDetector",
    "github_token": "GitHubTokenDetector",
    "gitlab_token": "GitLabTokenDetector",
    "mailchimp": "MailchimpDetector",
    "openai": "OpenAIDetector",
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
)
_FORMS = (
    re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}\b"),
    re.compile(r"(?<![\w+])\+\d(?:[ ().-]{0,2}\d){7,14}\b"),
)
# By what each issuer's numbers begin with, and how many digits they have.
_CARD = re.compile(
    r"\b(?:3[47]\d\d[ -]?\d{6}[ -]?\d{5}"
    r"|(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6\d{3}|35\d\d)(?:[ -]?\d{4}){3})\b"
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b")
# What has the form of such a number, and what says whether it is one.
_CHECKED: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = (
    (_IBAN, iban.is_valid),
    (_CARD, lambda text: luhn.is_valid(_digits(text))),
    (re.compile(r"\b\d{3}-\d{2}-\d{4}\b"), ssn.is_valid),
    (re.compile(r"\b[12] ?\d{2} ?\d{2} ?[0-9AB]{2} ?\d{3} ?\d{3} ?\d{2}\b"), nir.is_valid),
    (re.compile(r"\b\d{8}-?[A-Z]\b"), dni.is_valid),
    (re.compile(r"\b[XYZ]-?\d{7}-?[A-Z]\b"), nie.is_valid),
    (re.compile(r"\b[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]\b"), codicefiscale.is_valid),
    (re.compile(r"\b\d{2} ?\d{3} ?\d{3} ?\d{3}\b"), idnr.is_valid),
    (re.compile(r"\b\d{2}\.?\d{2}\.?\d{2}-?\d{3}\.?\d{2}\b"), nn.is_valid),
    (re.compile(r"\b\d{11}\b"), pesel.is_valid),
)
_SPACE = re.compile(" ")
_WORD = re.compile(r"\w+")
# Of scripts that put no spaces between words.
_LETTER = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_CANARY = re.compile(r"[\w-]{8,128}")


@dataclass(frozen=True, slots=True)
class AnswerFinding:
    """Something of a `kind` from `start` up to `end`, in characters."""

    kind: str
    start: int
    end: int


def secrets(text: str) -> Iterator[AnswerFinding]:
    """Keys and tokens of known forms, and private keys."""
    for pattern in (*_secret_patterns(), *_OWN_SECRETS):
        yield from _found(SECRETS, pattern, text)


def personal(text: str) -> Iterator[AnswerFinding]:
    """Addresses, telephone numbers, and numbers of accounts, cards and people."""
    for pattern in _FORMS:
        yield from _found(PERSONAL, pattern, text)
    for pattern, is_valid in _CHECKED:
        yield from _checked(pattern, is_valid, text)


class RepeatedPrompt:
    """Finds GRAM words in a row of a prompt, whatever stands between them and in whatever case; of
    scripts without spaces, twice as many letters.
    """

    def __init__(self, prompts: Sequence[str]) -> None:
        self._grams = {gram for prompt in prompts for gram, _ in _grams(prompt)}

    def __call__(self, text: str) -> Iterator[AnswerFinding]:
        for gram, (start, end) in _grams(text):
            if gram in self._grams:
                yield AnswerFinding(PROMPT, start, end)


class Canaries:
    """Finds words by their SHA-256 digests."""

    def __init__(self, digests: Sequence[str]) -> None:
        self._digests = frozenset(digests)

    def __call__(self, text: str) -> Iterator[AnswerFinding]:
        for word in _CANARY.finditer(text):
            # Marks of emphasis may stand beside it.
            for said in {word.group(), word.group().strip("_-")}:
                digest = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()
                if f"sha256:{digest}" in self._digests:
                    yield AnswerFinding(CANARY, *word.span())


def _checked(
    pattern: re.Pattern[str], is_valid: Callable[[str], bool], text: str
) -> Iterator[AnswerFinding]:
    """The matches that are valid. Where one is not, another may begin within it."""
    at = 0
    while match := pattern.search(text, at):
        start, ends = match.start(), [match.end()]
        if pattern is _IBAN:
            # Words in capitals may follow.
            ends += [start + place.start() for place in _SPACE.finditer(match.group())]
        end = next((each for each in ends if is_valid(text[start:each])), None)
        if end is not None:
            yield AnswerFinding(PERSONAL, start, end)
        at = end or start + 1


def _found(kind: str, pattern: re.Pattern[str], text: str) -> Iterator[AnswerFinding]:
    return (AnswerFinding(kind, *match.span()) for match in pattern.finditer(text))


def _grams(text: str) -> Iterator[tuple[tuple[str, ...], tuple[int, int]]]:
    """The words and letters in a row that are compared, each with its place."""
    for pattern, size in ((_WORD, GRAM), (_LETTER, 2 * GRAM)):
        found = list(pattern.finditer(text))
        words = [each.group().casefold() for each in found]
        for at in range(len(words) - size + 1):
            yield tuple(words[at : at + size]), (found[at].start(), found[at + size - 1].end())


@functools.cache
def _secret_patterns() -> tuple[re.Pattern[str], ...]:
    found: list[re.Pattern[str]] = []
    for module, name in _DETECTORS.items():
        plugin = importlib.import_module(f"detect_secrets.plugins.{module}")
        found += getattr(plugin, name).denylist
    return tuple(found)


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))
