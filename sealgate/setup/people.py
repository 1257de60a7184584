"""A person's folder in an installation: keys, certificate and profile."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sealgate.setup.credentials import CertificateAuthority
from sealgate.trust.keys import ECDSA_P256, ED25519, PrivateKey, write_private_file

CERTIFICATE_LIFETIME = timedelta(days=350)
"""Of callers. A server's and the policy's differ, so that they do not all end on one day."""
SERVER_LIFETIME = timedelta(days=335)
POLICY_LIFETIME = timedelta(days=365)
AUTHORITY = "authorities/callers.key"
"""The key of the authority that issues callers' certificates, under the passphrase of `init`."""
AUTHORITY_CERTIFICATE = "tls/callers.pem"
SIGNERS = ("publisher", "approver", "admin")
"""The roles whose holders sign statements."""


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
