"""Drafts of the next policy, as documents: the one in force, with changes for the roots to sign.

`Policy.decode` of the canonical JSON says whether a draft contradicts itself.
"""

import json
from datetime import datetime, timedelta
from typing import Any

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.fields import check_name
from sealgate.trust.keys import PublicKey
from sealgate.trust.keys.webauthn import Passkey
from sealgate.trust.policy import Policy
from sealgate.trust.times import format_time

Document = dict[str, Any]


def successor_of(current: Policy, now: datetime, lifetime: timedelta) -> Document:
    """The policy in force as the next version, valid from `now`."""
    document: Document = json.loads(current.encode())
    return document | {
        "version": current.version + 1,
        "issued": format_time(now),
        "expires": format_time(now + lifetime),
    }


def checked(document: Document) -> Policy:
    """The policy that a draft is. Raises SealgateError where it contradicts itself."""
    return Policy.decode(canonical.encode(document))


def add_person(
    document: Document,
    name: str,
    roles: list[str],
    identity: str,
    keys: tuple[PublicKey, ...] = (),
) -> None:
    """Name a person, who is known by `identity`.

    Raises SealgateError: NAME_MALFORMED, PARAMETER_MALFORMED for one who is named already.
    """
    if check_name(name) in {known["name"] for known in document["principals"]}:
        raise SealgateError(Reason.PARAMETER_MALFORMED, f"the policy names {name} already")
    document["keys"] |= {key.keyid: key.pem for key in keys}
    entry = {"name": name, "roles": roles, "identities": [identity]}
    document["principals"].append(entry | {"keys": [key.keyid for key in keys]})


def remove_person(document: Document, name: str) -> None:
    """Name a person no more, nor in any right. The keys stay listed, so that what they signed
    stays valid. Raises SealgateError(PARAMETER_MALFORMED) for one who is not named.
    """
    document["principals"].remove(find_person(document, name))
    if "rights" in document:
        named = [_without(right, name) for right in document["rights"]]
        document["rights"] = [right for right in named if right["principals"] or right["roles"]]


def add_passkey(document: Document, name: str, passkey: Passkey) -> None:
    """List a passkey as one of a person's. Raises SealgateError(PARAMETER_MALFORMED) for one who
    is not named, or has it already.
    """
    entry = find_person(document, name)
    if passkey.keyid in entry["keys"]:
        raise SealgateError(Reason.PARAMETER_MALFORMED, f"{name} has this passkey already")
    document.setdefault("webauthn", {})[passkey.keyid] = passkey.to_json()
    entry["keys"] = [*entry["keys"], passkey.keyid]


def find_person(document: Document, name: str) -> Document:
    """A person's entry. Raises SealgateError(PARAMETER_MALFORMED)."""
    for known in document["principals"]:
        if known["name"] == name:
            return fields.mapping(known)
    raise SealgateError(Reason.PARAMETER_MALFORMED, f"the policy names no {name}")


def _without(right: Document, name: str) -> Document:
    return right | {"principals": [known for known in right["principals"] if known != name]}
