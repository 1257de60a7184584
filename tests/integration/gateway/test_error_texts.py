"""No exception text reaches a caller (CVE-2025-23319)."""

from collections.abc import Iterator

import grpc
import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.remote import reason_of
from tests.support.harness.gateway import GatewayHarness, question, rows, running

_SECRET = "SELECT secret FROM keys -- /srv/state/registry.db score=0.731"


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    with running(tmp_path_factory.mktemp("house") / "state") as harness:
        yield harness


@pytest.mark.parametrize("error", [RuntimeError, KeyError, ValueError, OSError, AssertionError])
def test_no_exception_text_reaches_a_caller(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error(_SECRET)

    monkeypatch.setattr(harness.gateway.engine, "resolve", fail)
    stub = harness.inference()
    ready = oip.ModelReadyRequest(name="digits")
    for call, request in (
        (stub.ModelInfer, question("digits", rows())),
        (stub.ModelReady, ready),
        (stub.ModelMetadata, oip.ModelMetadataRequest(name="digits")),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(request, timeout=60)
        assert reason_of(caught.value) is Reason.INTERNAL
        assert caught.value.details() == Reason.INTERNAL.sentence
        told = repr([caught.value.trailing_metadata(), caught.value.initial_metadata()])  # type: ignore[attr-defined]
        for word in ("SELECT", "secret", "registry.db", "0.731", "Traceback"):
            assert word not in told
