"""What a monitor gets of a version: what it must ask and hear, and no more.

The role `monitor` is for a scheduled check (`sealgate health`). Whoever has it and no role of
people's reads the files with golden inputs and answers, and with how they are asked, and the
manifest and signature to hold them against; no weights, no detector, and no evidence, which tells
of thresholds. One threshold is in a file that they read all the same: a language model's terms hold
that of its prompts.
"""

from inference.engine.ready_version import GOLDEN, MODEL
from inference.llm import request
from sealgate.reasons import Reason, Refusal
from sealgate.trust.policy.document import Principal
from sealgate.trust.policy.rights import STAFF
from sealgate.v1.registry_pb2 import Version

_FILES = frozenset({MODEL, GOLDEN, request.TERMS, request.GOLDEN})


def check_file(caller: Principal, path: str) -> None:
    """Raises: ROLE_TOO_LOW."""
    if STAFF.isdisjoint(caller.roles) and path not in _FILES:
        raise Refusal(Reason.ROLE_TOO_LOW, f"{caller.name} on a file of a version")


def shown(caller: Principal, version: Version) -> Version:
    """The version as the caller may see it."""
    if STAFF.isdisjoint(caller.roles):
        version.ClearField("evidence")
        version.ClearField("attached")
    return version
