"""A person's folder in an installation, and one-time links to the console of a single machine.

The folder holds keys, certificate and profile.

Links are files that commands leave in the console's folder. A sign-in link leads to a person's
token, which `sealgate console link` signs, bound to the console's certificate. An enrolment link
leads a person to a page that makes their passkey, before any policy names them; the console keeps
what was made for `sealgate person passkey`. A file is named after the digest of its link's code, so
a listing of the folder signs nobody in. Files of links that are too old are deleted.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from sealgate.files import replace_file
from sealgate.setup.credentials import CertificateAuthority
from sealgate.trust.fields import check_name
from sealgate.trust.keys import ECDSA_P256, ED25519, PrivateKey, write_private_file
from sealgate.trust.keys.webauthn import Passkey
from sealgate.trust.times import format_time, parse_time

CERTIFICATE_LIFETIME = timedelta(days=350)
"""Of callers. A server's and the policy's differ, so that they do not all end on one day."""
SERVER_LIFETIME = timedelta(days=335)
POLICY_LIFETIME = timedelta(days=365)
AUTHORITY = "authorities/callers.key"
"""The key of the authority that issues callers' certificates, under the passphrase of `init`."""
AUTHORITY_CERTIFICATE = "tls/callers.pem"
ROLES = ("client", "auditor", "publisher", "approver", "admin", "monitor", "events")
"""The roles that whoever is added to an installation may have."""
SIGNERS = ("publisher", "approver", "admin")
"""The roles whose holders sign statements."""
SIGN_IN, ENROL = "sign-in", "enrol"
_BYTES = 24
_CODE = re.compile(r"[A-Za-z0-9_-]{32}")
_FILE = re.compile(r"[0-9a-f]{64}(?:\.[0-9a-f]{16})?")
_LONGEST = 1 << 16
_ENROLLED = "enrolled"


@dataclass(frozen=True, slots=True)
class InstalledPerson:
    name: str
    role: str
    by_token: bool = False
    also: str = ""

    @property
    def roles(self) -> list[str]:
        return [role for role in (self.role, self.also) if role]


class PersonFolder:
    """Writes the files of one person below `home`, which holds none of them yet."""

    def __init__(self, home: Path, person: InstalledPerson, passphrase: bytes | None) -> None:
        """`passphrase` encrypts what the person signs with; None leaves it open."""
        self._home = home
        self._person = person
        self._passphrase = passphrase
        self.keys: list[PrivateKey] = []
        self._settings: dict[str, Any] = {"name": person.name}

    def write(
        self,
        common: Mapping[str, Any],
        callers: CertificateAuthority | None = None,
        token: str = "",
    ) -> None:
        """Write keys, a certificate by `callers` or else the token, and the profile.

        `common` are the settings that everyone's profile shares. Raises
        SealgateError(KEY_FILE_EXISTS).
        """
        name = self._person.name
        if callers is not None:
            caller = callers.caller(name)
            self._write("tls.pem", caller.certificate)
            self._write("tls.key", caller.key)
            self._settings |= {"certificate": "tls.pem", "certificate_key": "tls.key"}
        else:
            self._write("token.jwt", token.encode())
            self._settings |= {"token": "token.jwt", "witness": "witness.json"}
        if self._person.role in SIGNERS:
            self._sign_with("signing_key", "signing.key", ED25519)
        if self._person.role == "publisher":
            # Verifiers of the Model Signing format take NIST curves only.
            self._sign_with("model_signing_key", "model-signing.key", ECDSA_P256)
            self._settings |= {"watermark_keys": "watermarks", "outbox": "outbox"}
        settings = {**self._settings, **common}
        lines = [f"{key} = {_toml(value)}" for key, value in settings.items()]
        self._write("profile.toml", "\n".join([*lines, ""]).encode())

    def _sign_with(self, setting: str, file: str, scheme: str) -> None:
        key = PrivateKey.generate(scheme)
        self._write(file, key.to_pem(self._passphrase))
        self.keys.append(key)
        self._settings[setting] = file

    def _write(self, file: str, data: bytes) -> None:
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private_file(self._home / file, data)


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


class OneTimeLink(NamedTuple):
    """A link's content, and until when it holds: for `SIGN_IN` a token, for `ENROL` a person's
    name.
    """

    kind: str
    value: str
    until: datetime


def write_link(folder: Path, kind: str, value: str, now: datetime, lifetime: timedelta) -> str:
    """Leave a link for the console; return its code."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep(folder, now)
    code = secrets.token_urlsafe(_BYTES)
    document = {"kind": kind, "value": value, "until": format_time(now + lifetime)}
    # Whole under its name: a console that sweeps meanwhile would take it for no link of ours.
    written = folder / f".{_name(code)}"
    write_private_file(written, json.dumps(document).encode())
    written.rename(folder / _name(code))
    return code


def find_link(folder: Path, code: str, now: datetime) -> OneTimeLink | None:
    """The link of a code, if it can still be followed; it is not used up."""
    found = _read(folder / _name(code)) if _CODE.fullmatch(code) else None
    return found if found is not None and now < found.until else None


def take_link(folder: Path, code: str, now: datetime) -> OneTimeLink | None:
    """The link of a code, which is used up by this; None for one that is unknown or too old."""
    if not _CODE.fullmatch(code):
        return None
    taken = folder / f"{_name(code)}.{secrets.token_hex(8)}"
    try:
        # Of two who follow the link, one moves the file.
        (folder / _name(code)).rename(taken)
    except FileNotFoundError:
        return None
    found = _read(taken)
    taken.unlink(missing_ok=True)
    return found if found is not None and now < found.until else None


def sweep(folder: Path, now: datetime) -> None:
    """Delete the files of links that are too old, and those that are no links of ours."""
    for file in folder.iterdir() if folder.is_dir() else ():
        if _FILE.fullmatch(file.name):
            found = _read(file)
            if found is None or now >= found.until:
                file.unlink(missing_ok=True)


def keep_passkey(folder: Path, name: str, passkey: Passkey) -> None:
    """Keep a person's new passkey until a policy is drafted with it; the newest counts."""
    home = folder / _ENROLLED
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(home / f"{check_name(name)}.json", json.dumps(passkey.to_json()).encode())


def kept_passkey(folder: Path, name: str) -> Path:
    """The file with the passkey that a person made through an enrolment link, if they did."""
    return folder / _ENROLLED / f"{check_name(name)}.json"


def kept_passkeys(folder: Path | None) -> dict[str, Passkey]:
    """The passkeys that people made through enrolment links, by person."""
    home = None if folder is None else folder / _ENROLLED
    files = sorted(home.glob("*.json")) if home is not None and home.is_dir() else []
    return {file.stem: Passkey.from_json(json.loads(file.read_bytes())) for file in files}


def _name(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _read(path: Path) -> OneTimeLink | None:
    try:
        document = json.loads(path.read_bytes()[:_LONGEST])
        kind, value, until = (str(document[name]) for name in OneTimeLink._fields)
        return OneTimeLink(kind, value, parse_time(until))
    except (OSError, ValueError, KeyError, TypeError):
        return None
