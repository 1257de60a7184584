"""Signs statements with a security key over CTAP, without a browser (extra `security-key`).

The person sees on their own terminal what they sign; no page comes between. The assertion names
ORIGIN, which no browser can, so a policy can tell such signatures from those made at a web page.
"""

from collections.abc import Sequence

from fido2.client import ClientError, DefaultClientDataCollector, Fido2Client, UserInteraction
from fido2.ctap import CtapDevice, CtapError
from fido2.ctap2.pin import ClientPin
from fido2.hid import CtapHidDevice
from fido2.webauthn import (
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialRequestOptions,
    PublicKeyCredentialType,
    UserVerificationRequirement,
)

from sealgate.private_keys import Ask
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys.webauthn import Assertion, Passkey
from sealgate.trust.policy import Policy
from sealgate.trust.statements import passkey_envelope, signing_challenge
from sealgate.trust.statements.base import Statement

ORIGIN = "sealgate:cli"


def sign_with_security_key(
    statement: Statement, policy: Policy, ask: Ask | None, device: CtapDevice | None = None
) -> Envelope:
    """Return the statement, signed by a security key of its author that the policy lists.

    `ask` asks for the key's PIN, where it has one; `device` is the first that is plugged in, if it
    is not given. Raises SealgateError: KEY_UNREADABLE where the policy lists no passkey of the
    author for ORIGIN, KEY_UNAVAILABLE where no device is there or it does not sign.
    """
    keys = policy.signing_keys_of(statement.author).values()
    passkeys = [key for key in keys if isinstance(key, Passkey) and ORIGIN in key.origins]
    if not passkeys:
        detail = f"the policy lists no passkey of {statement.author} for {ORIGIN}"
        raise SealgateError(Reason.KEY_UNREADABLE, detail)
    device = device or next(iter(CtapHidDevice.list_devices()), None)
    if device is None:
        raise SealgateError(Reason.KEY_UNAVAILABLE, "no security key is plugged in")
    passkey, assertion = _ask(device, passkeys, signing_challenge(statement), ask)
    return passkey_envelope(statement, passkey.keyid, assertion)


class _Prompt(UserInteraction):
    def __init__(self, ask: Ask | None) -> None:
        self._ask = ask

    def request_pin(self, permissions: ClientPin.PERMISSION, rp_id: str | None) -> str | None:
        return self._ask("the security key's PIN") if self._ask else None


def _ask(
    device: CtapDevice, passkeys: Sequence[Passkey], challenge: bytes, ask: Ask | None
) -> tuple[Passkey, Assertion]:
    """Ask a device for the assertion of one of the passkeys, which are of one RP id."""
    # The origin is ours to state; the RP id is the passkey's own, as the policy lists it.
    collector = DefaultClientDataCollector(ORIGIN, verify=lambda rp_id, origin: True)
    options = PublicKeyCredentialRequestOptions(
        challenge=challenge,
        rp_id=passkeys[0].rp_id,
        allow_credentials=[
            PublicKeyCredentialDescriptor(
                type=PublicKeyCredentialType.PUBLIC_KEY, id=passkey.credential
            )
            for passkey in passkeys
            if passkey.rp_id == passkeys[0].rp_id
        ],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    try:
        found = Fido2Client(device, collector, _Prompt(ask)).get_assertion(options).get_response(0)
    except (ClientError, CtapError, OSError, ValueError) as error:
        raise SealgateError(Reason.KEY_UNAVAILABLE, f"the security key: {error}") from error
    said = found.response
    chosen = next(key for key in passkeys if key.credential == found.raw_id)
    data = bytes(said.authenticator_data)
    return chosen, Assertion(data, bytes(said.client_data), said.signature)
