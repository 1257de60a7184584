"""Evidence that reveals thresholds is not shown to monitors."""

from gateway.services.registry import shown
from sealgate.trust.policy import Principal
from sealgate.v1.registry_pb2 import Version


def test_evidence_is_for_staff_whenever_it_came() -> None:
    def seen(*roles: str) -> Version:
        version = Version(manifest=b"m", evidence=[b"with it"], attached=[b"later"])
        return shown(Principal("someone", roles, (), ()), version)

    assert seen("monitor") == Version(manifest=b"m")
    assert seen("monitor", "auditor").attached == [b"later"]
