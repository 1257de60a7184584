"""Erasing a subject: whom records are about is forgotten, what was recorded still verifies."""

import secrets
from dataclasses import dataclass

from gateway.recorder import Recorder
from registry.erasures import Erasures
from sealgate.trust.pseudonym import SALT_BYTES, pseudonym


@dataclass(frozen=True, slots=True)
class Erased:
    """Under which pseudonym the registry's log tells of it, and how many entries can be opened no
    more.
    """

    pseudonym: str
    entries: int


def erase_subject(
    erasures: Erasures, recorder: Recorder, principal: str, origin: str, subject: str
) -> Erased:
    """Erase a subject from this gateway's answer log `origin`, in the name of `principal`.

    The log tells of it first, so nothing is ever gone without its entry. Raises as
    `Erasures.add` and `Recorder.erase` do.
    """
    told = pseudonym(subject, secrets.token_bytes(SALT_BYTES))
    erasures.add(principal, origin, told)
    return Erased(told, recorder.erase(subject))
