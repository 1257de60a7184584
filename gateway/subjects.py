"""Erasing a subject: whom records are about is forgotten, what was recorded still verifies."""

import hashlib
import secrets
from dataclasses import dataclass

from gateway.recorder import Recorder
from registry.erasures import Erasures
from registry.requests import Once
from sealgate.trust.digest import sha256
from sealgate.trust.pseudonym import SALT_BYTES, pseudonym


@dataclass(frozen=True, slots=True)
class Erased:
    """Under which pseudonym the registry's log tells of it, and how many entries can be opened no
    more.
    """

    pseudonym: str
    entries: int


def erase_subject(
    erasures: Erasures,
    recorder: Recorder,
    principal: str,
    origin: str,
    subject: str,
    request_id: str = "",
) -> Erased:
    """Erase a subject from this gateway's answer log `origin`, in the name of `principal`.

    The log tells of it first, so nothing is ever gone without its entry; a repeated request makes
    no second one, and goes on where the first may have broken off. Raises as `Once`,
    `Erasures.add` and `Recorder.erase` do.
    """
    once = _once(request_id, origin, subject) if request_id else None
    told = erasures.add(
        principal, origin, pseudonym(subject, secrets.token_bytes(SALT_BYTES)), once
    )
    return Erased(told, recorder.erase(subject))


def _once(request_id: str, origin: str, subject: str) -> Once:
    """By what the request is known again. Its digest outlives the subject's name here, so it is as
    slow to guess from as a pseudonym.
    """
    salt = hashlib.sha256(request_id.encode("utf-8")).digest()[:SALT_BYTES]
    return Once(request_id, sha256(f"{origin} {pseudonym(subject, salt)}".encode()))
