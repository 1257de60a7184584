"""Run by the oracles' own Python: verifies DSSE envelopes with securesystemslib.

Reads a JSON list of {envelope, keys: {keyid: {scheme, public}}, threshold}, and writes for each
the sorted key ids that signed, or null for an envelope that does not verify.
"""

import json
import sys

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

_TYPES = {"ed25519": ("ed25519", "ed25519"), "ecdsa-p256": ("ecdsa", "ecdsa-sha2-nistp256")}


def check(case: dict) -> list | None:
    keys = []
    for keyid, key in case["keys"].items():
        kind, scheme = _TYPES[key["scheme"]]
        keys.append(SSlibKey(keyid, kind, scheme, {"public": key["public"]}))
    envelope = Envelope.from_dict(json.loads(case["envelope"]))
    try:
        return sorted(envelope.verify(keys, case["threshold"]))
    except VerificationError:
        return None


json.dump([check(case) for case in json.load(sys.stdin)], sys.stdout)
