"""A caller's own credentials, read for whom they stand for, and errors, read for their reasons."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from sealgate.client.refused import receipt_in, refusal_of
from sealgate.client.retries import Retries
from sealgate.reasons import Reason
from sealgate.remote import Access, reason_of
from sealgate.setup.certificates import Authority
from sealgate.setup.tokens import ISSUER, mint_token, new_issuer_key
from tests.support.fake_gateway import Failed

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def test_the_identities_that_credentials_stand_for():
    token = mint_token(new_issuer_key(), "carla", NOW, timedelta(hours=1))
    caller = Authority("callers", NOW, timedelta(days=1)).caller("carla")
    both = Access("gateway:1", None, lambda: token, caller.certificate, caller.key)
    assert both.identities() == ("mtls:carla", f"jwt:{ISSUER} carla")
    assert Access("gateway:1").identities() == ()


def test_a_certificate_with_a_spiffe_id_is_known_by_that_alone():
    caller = Authority("callers", NOW, timedelta(days=1)).caller("carla", "spiffe://house/scorer")
    access = Access("gateway:1", None, None, caller.certificate, caller.key)
    assert access.identities() == ("spiffe:spiffe://house/scorer",)


@pytest.mark.parametrize("token", ["an-api-key", "", "a.b.c"])
def test_a_token_that_says_nothing_stands_for_nobody(token):
    assert Access("gateway:1", token=token).identities() == ()


def aio(failed: Failed) -> grpc.aio.AioRpcError:
    metadata = grpc.aio.Metadata(*failed.trailing_metadata())
    return grpc.aio.AioRpcError(failed.code(), grpc.aio.Metadata(), metadata, failed.details())


@pytest.mark.parametrize("api", [lambda failed: failed, aio])
def test_both_apis_errors_tell_the_same(api):
    exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
    error = api(Failed(exhausted, Reason.QUEUE_FULL, 0.25, b"receipt"))
    assert reason_of(error) is Reason.QUEUE_FULL
    refusal = refusal_of(error)
    assert (refusal.reason, refusal.code, refusal.retry_after) == (
        Reason.QUEUE_FULL,
        exhausted,
        0.25,
    )
    assert receipt_in(error) == b"receipt"


def test_retries_are_bounded():
    for settings in ({"attempts": 0}, {"first": -1.0}, {"first": 3.0}):
        with pytest.raises(ValueError, match="attempts"):
            Retries(**settings)
    refusal = refusal_of(Failed(grpc.StatusCode.UNAVAILABLE))
    retries = Retries(attempts=99)
    pauses = [retries.pause(n, refusal, 1e9, lambda: 0.999) for n in range(1, 99)]
    assert max(pauses) <= 2.0
    assert retries.pause(99, refusal, 1e9, lambda: 0.0) is None


def test_importing_the_package_loads_none_of_the_client():
    program = (
        "import sys, sealgate.trust.merkle; print(any('grpc' in name for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
