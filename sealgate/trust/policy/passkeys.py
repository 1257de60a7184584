"""The section `webauthn`: passkeys with which people sign, beside or instead of private keys.

A passkey is listed by its key id, as other keys are under `keys`, and belongs to the person who has
that id among theirs. Only people have passkeys: no service and no root signs with one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from sealgate.trust import fields
from sealgate.trust.keys.webauthn import Passkey
from sealgate.trust.policy.principals import Principal, invalid
from sealgate.trust.policy.rights import STAFF

_PEOPLE = STAFF | {"client"}


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
