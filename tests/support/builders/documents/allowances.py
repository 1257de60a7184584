"""Allowances of the organisation in `people`."""

from typing import Any

from sealgate.trust.statements.allowance import Allowance, HeldRequest
from tests.support.builders.documents.people import VERSION_DIGEST, at

INPUT = "sha256:" + "7" * 64


def an_allowance(**changes: Any) -> Allowance:
    """Anna lets Carla ask `INPUT`, for five minutes more."""
    values: dict[str, Any] = {
        "caller": "carla",
        "model": "digits",
        "digest": VERSION_DIGEST,
        "input": INPUT,
        "person": "anna",
        "reason": "the scan is genuine",
        "issued": at(minutes=-5),
        "expires": at(minutes=5),
        "nonce": "0f" * 16,
    }
    return Allowance(**(values | changes))


def held(allowance: Allowance) -> HeldRequest:
    """The request that an allowance stands for."""
    return HeldRequest(allowance.caller, allowance.model, allowance.digest, allowance.input)
