"""A wrong PIN, and a token that goes away. In processes of their own: one that is logged in needs
no PIN any more, and what one key's session loses, the others lose with it.
"""

import subprocess
import sys

from sealgate.trust.keys import write_private_file

_OPEN = """
import sys
from sealgate.reasons import SealgateError
from sealgate.private_keys import open_signer
try:
    signer = open_signer(sys.argv[1])
    signer.public.verify(signer.sign(b"message"), b"message")
    signer._session.close()
    signer.sign(b"message")
except SealgateError as refusal:
    print(refusal.reason.name, refusal.detail)
"""


def said(uri: str) -> str:
    words = [sys.executable, "-c", _OPEN, uri]
    return subprocess.run(words, capture_output=True, text=True, timeout=60).stdout


def test_a_wrong_pin(token, tmp_path):
    write_private_file(tmp_path / "pin", b"9999")
    text = said(token.uri("anna").replace(str(token.pin_file), str(tmp_path / "pin")))
    assert text.startswith("KEY_UNREADABLE")
    assert "PinIncorrect" in text
    assert "9999" not in text


def test_a_token_that_went_away(token):
    for name in ("anna", "anna-ed"):
        assert said(token.uri(name)).startswith("KEY_UNAVAILABLE")
