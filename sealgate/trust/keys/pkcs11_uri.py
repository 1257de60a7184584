"""PKCS#11 URIs (RFC 7512), which name a key in a token.

`pkcs11:token=approvals;object=anna?pin-source=file:/run/keys/pin&module-path=/usr/lib/…/p11.so`
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import unquote_to_bytes

from sealgate.reasons import Reason, SealgateError

SCHEME = "pkcs11:"
# Names the library of the tokens where a URI has no `module-path`.
MODULE_VARIABLE = "SEALGATE_PKCS11_MODULE"
_PLACES = frozenset({"token", "serial", "object", "id", "type"})
_QUERIES = frozenset({"pin-source", "module-path"})


def is_key_uri(place: Path | str) -> bool:
    """Whether a setting names a key in a token rather than a file."""
    return str(place).startswith(SCHEME)


@dataclass(frozen=True, slots=True)
class KeyUri:
    """A key in a PKCS#11 token. `object` is its label, `id` its CKA_ID; one may be empty.

    `pin_source` is a private file that holds the PIN, `module` the library of the tokens.
    """

    token: str
    serial: str
    object: str
    id: bytes
    pin_source: Path | None
    module: Path = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URI. Raises SealgateError(KEY_UNREADABLE), which says what to change.

        A PIN in the URI itself (`pin-value`) is refused: it would stand in the process list.
        """
        if not is_key_uri(text):
            raise _unusable("it does not begin with pkcs11:")
        path, _, query = text.removeprefix(SCHEME).partition("?")
        places = _attributes(path, ";", _PLACES)
        queries = _attributes(query, "&", _QUERIES)
        if not (places.get("token") or places.get("serial")):
            raise _unusable("it names no token")
        if not (places.get("object") or places.get("id")):
            raise _unusable("it names no object and no id")
        if places.get("type", b"private") != b"private":
            raise _unusable("its type is not private")
        module = queries.get("module-path", b"").decode() or os.environ.get(MODULE_VARIABLE, "")
        if not module:
            raise _unusable(f"it has no module-path, and {MODULE_VARIABLE} is not set")
        source = queries.get("pin-source")
        return cls(
            token=places.get("token", b"").decode(),
            serial=places.get("serial", b"").decode(),
            object=places.get("object", b"").decode(),
            id=places.get("id", b""),
            pin_source=None if source is None else _file(source.decode()),
            module=_absolute(module, "module-path"),
        )

    def __str__(self) -> str:
        return f"{SCHEME}token={self.token or self.serial};object={self.object or self.id.hex()}"


def _attributes(text: str, separator: str, known: frozenset[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for item in filter(None, text.split(separator)):
        name, equals, value = item.partition("=")
        if name == "pin-value":
            raise _unusable("a PIN does not belong in it; name its file with pin-source=file:/…")
        if name not in known or not equals:
            raise _unusable(f"it has {name!r}; known are {', '.join(sorted(known))}")
        if name in found:
            raise _unusable(f"it has {name} twice")
        decoded = unquote_to_bytes(value)
        if name != "id":
            _check_text(decoded, name)
        found[name] = decoded
    return found


def _check_text(value: bytes, name: str) -> None:
    try:
        value.decode()
    except UnicodeDecodeError:
        raise _unusable(f"its {name} is not UTF-8") from None


def _file(source: str) -> Path:
    return _absolute(source.removeprefix("file://").removeprefix("file:"), "pin-source")


def _absolute(text: str, name: str) -> Path:
    if not text.startswith("/"):
        raise _unusable(f"its {name} must be an absolute path")
    return Path(text)


def _unusable(detail: str) -> SealgateError:
    return SealgateError(Reason.KEY_UNREADABLE, f"a pkcs11: URI cannot be used: {detail}")
