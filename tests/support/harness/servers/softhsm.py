"""A PKCS#11 token made by SoftHSM2, with keys in it that have never been outside.

The library reads its configuration once in a process, so there is one token a run of the tests.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism

from sealgate.trust.keys import write_private_file
from sealgate.trust.keys.pkcs11_uri import MODULE_VARIABLE
from tests.support.oracles import programs

PIN = "4711-not-a-secret"
_LIBRARIES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
# The DER of the object identifiers of the two curves.
_ED25519 = bytes.fromhex("06032b6570")
_P256 = bytes.fromhex("06082a8648ce3d030107")
_P384 = bytes.fromhex("06052b81040022")


@dataclass(frozen=True)
class SoftToken:
    """Keys are made once, by name; `uri` names one, with the PIN in a file unless told."""

    module: Path
    pin_file: Path
    label: str = "house keys"

    def uri(self, name: str, *, pin: bool = True) -> str:
        source = f"pin-source=file:{self.pin_file}&" if pin else ""
        label = self.label.replace(" ", "%20")
        return f"pkcs11:token={label};object={name};type=private?{source}module-path={self.module}"

    def make(self, scheme: str, *names: str) -> None:
        token = pkcs11.lib(str(self.module)).get_token(token_label=self.label)
        try:
            session = token.open(user_pin=PIN, rw=True)
        except pkcs11.exceptions.UserAlreadyLoggedIn:
            session = token.open(rw=True)
        edwards = scheme == "ed25519"
        kind = KeyType.EC_EDWARDS if edwards else KeyType.EC
        curve = {"ed25519": _ED25519, "p256": _P256, "p384": _P384}[scheme]
        how = Mechanism.EC_EDWARDS_KEY_PAIR_GEN if edwards else Mechanism.EC_KEY_PAIR_GEN
        for name in names:
            made = session.create_domain_parameters(kind, {Attribute.EC_PARAMS: curve}, local=True)
            made.generate_keypair(mechanism=how, store=True, label=name, id=name.encode())


def soft_token(folder: Path) -> SoftToken:
    """A token in an empty folder. Skips, or fails in CI, where SoftHSM2 is missing."""
    util = programs.program("softhsm2-util")
    module = next((Path(path) for path in _LIBRARIES if Path(path).exists()), None)
    assert module is not None, "softhsm2-util without its library"
    tokens = folder / "tokens"
    tokens.mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    os.environ.pop(MODULE_VARIABLE, None)
    write_private_file(folder / "pin", PIN.encode())
    token = SoftToken(module, folder / "pin")
    words = ["--init-token", "--free", "--label", token.label, "--pin", PIN, "--so-pin", PIN]
    made = programs.run([util, *words])
    assert made.returncode == 0, made.stderr
    return token
