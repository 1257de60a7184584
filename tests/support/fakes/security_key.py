"""A CTAP2 device in software, with one passkey and user verification of its own."""

from typing import Any

from fido2 import cbor
from fido2.ctap import CtapDevice
from fido2.hid import CAPABILITY, CTAPHID

from tests.support.builders.documents.authenticator import PRESENT, VERIFIED, Authenticator

_GET_ASSERTION, _GET_INFO = 0x02, 0x04
_NO_CREDENTIALS = 0x2E


class VirtualSecurityKey(CtapDevice):
    """Answers what `Fido2Client` asks. `flags` are what it says of its user."""

    def __init__(self, held: Authenticator, flags: int = PRESENT | VERIFIED) -> None:
        self._held = held
        self._flags = flags
        self.asked: list[str] = []

    @property
    def capabilities(self) -> int:
        return CAPABILITY.CBOR

    def call(
        self, cmd: int, data: bytes = b"", event: Any = None, on_keepalive: Any = None
    ) -> bytes:
        assert cmd == CTAPHID.CBOR
        if data[0] == _GET_INFO:
            options = {"uv": True, "up": True, "rk": True}
            return b"\x00" + cbor.encode({1: ["FIDO_2_0"], 3: bytes(16), 4: options, 6: [1]})
        assert data[0] == _GET_ASSERTION
        return self._assert(cbor.decode(data[1:]))

    def _assert(self, request: Any) -> bytes:
        rp_id, hashed, allowed = request[1], request[2], request.get(3, [])
        self.asked.append(rp_id)
        credential = self._held.passkey.credential
        if credential not in [item["id"] for item in allowed]:
            return bytes([_NO_CREDENTIALS])
        # A device is told only the hash of the client data.
        data, signature = self._held.answer_hash(hashed, rp_id, self._flags)
        descriptor = {"id": credential, "type": "public-key"}
        return b"\x00" + cbor.encode({1: descriptor, 2: data, 3: signature})

    def close(self) -> None:
        """There is nothing to close."""

    @classmethod
    def list_devices(cls) -> Any:
        return iter(())
