"""Bytes in forms and pages, as WebAuthn's own JSON has them: base64url without padding."""

import base64
from collections.abc import Mapping

from sealgate.reasons import Reason, SealgateError


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(form: Mapping[str, str], name: str) -> bytes:
    """The bytes of a form's field. Raises SealgateError(WEBAUTHN_MALFORMED)."""
    text = form.get(name, "")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise SealgateError(Reason.WEBAUTHN_MALFORMED, name) from None
