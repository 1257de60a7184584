"""A caller's own credentials, read for whom they stand for, and errors, read for their reasons."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import click
import grpc
import pytest
from click.testing import CliRunner
from google.protobuf import any_pb2

from sealgate.cli.output import HelpfulGroup
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import Access, reason_of
from sealgate.remote.calls import Retries
from sealgate.remote.errors import forget_frames, receipt_in, refusal_of
from sealgate.setup.credentials import ISSUER, CertificateAuthority, mint_token, new_issuer_key
from tests.support.fakes.gateway import Failed

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def test_the_identities_that_credentials_stand_for():
    token = mint_token(new_issuer_key(), "carla", NOW, timedelta(hours=1))
    caller = CertificateAuthority("callers", NOW, timedelta(days=1)).caller("carla")
    both = Access("gateway:1", None, lambda: token, caller.certificate, caller.key)
    assert both.identities() == ("mtls:carla", f"jwt:{ISSUER} carla")
    assert Access("gateway:1").identities() == ()


def test_a_certificate_with_a_spiffe_id_is_known_by_that_alone():
    caller = CertificateAuthority("callers", NOW, timedelta(days=1)).caller(
        "carla", "spiffe://house/scorer"
    )
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


@pytest.mark.parametrize("api", [lambda failed: failed, aio])
def test_a_reason_of_a_newer_release_is_unknown_and_named(api):
    exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
    error = api(Failed(exhausted, "MOON_TOO_FULL", 0.25))
    assert reason_of(error) is Reason.REASON_UNKNOWN
    refusal = refusal_of(error)
    assert (refusal.reason, refusal.detail) == (Reason.REASON_UNKNOWN, "MOON_TOO_FULL")
    # The status's code and its pause still count.
    assert (refusal.code, refusal.retry_after) == (exhausted, 0.25)
    assert Retries().pause(1, refusal, 60.0, lambda: 0.0) == 0.25


@pytest.mark.parametrize("kind", ["ErrorInfo", "RetryInfo"])
def test_details_that_cannot_be_read_say_nothing(kind):
    garbled = any_pb2.Any(type_url=f"type.googleapis.com/google.rpc.{kind}", value=b"\xff")
    error = Failed(grpc.StatusCode.UNAVAILABLE, details=[garbled])
    refusal = refusal_of(error)
    assert (refusal.reason, refusal.retry_after) == (Reason.CALL_FAILED, None)
    # Details behind the garbled one are read.
    told = Failed(grpc.StatusCode.UNAVAILABLE, Reason.DRAINING, 0.5, details=[garbled])
    assert (reason_of(told), refusal_of(told).retry_after) == (Reason.DRAINING, 0.5)


@pytest.mark.parametrize("name", ["", "__init__", "named", "\x1b[2J", "A" * 64, "queue_full"])
def test_what_is_no_name_of_a_reason_is_not_shown(name):
    refusal = refusal_of(Failed(grpc.StatusCode.INTERNAL, name))
    assert (refusal.reason, refusal.detail) == (Reason.REASON_UNKNOWN, "")


def test_a_command_that_meets_an_unknown_reason_says_so():
    @click.group(cls=HelpfulGroup)
    def commands():
        """Nothing."""

    @commands.command()
    def ask():
        raise Failed(grpc.StatusCode.INTERNAL, "MOON_TOO_FULL")

    done = CliRunner().invoke(commands, ["ask"])
    assert done.exit_code == 1
    assert "REASON_UNKNOWN" in done.output
    assert "MOON_TOO_FULL" in done.output


ESCAPE = "\x1b[2J\x9b1mnothing wrong\r"


class Escaping(Failed):
    def details(self) -> str:
        return ESCAPE


@pytest.mark.parametrize(
    "failure",
    [
        Escaping(grpc.StatusCode.INTERNAL),
        Escaping(grpc.StatusCode.UNAVAILABLE),
        refusal_of(Escaping(grpc.StatusCode.INTERNAL)),
        FileNotFoundError(2, "No such file", ESCAPE),
    ],
)
def test_what_a_gateway_says_does_not_reach_the_terminal_as_it_is(failure):
    """A hostile gateway or TLS proxy could otherwise write any text to the terminal."""

    @click.group(cls=HelpfulGroup)
    def commands():
        """Nothing."""

    @commands.command()
    def ask():
        raise failure

    done = CliRunner().invoke(commands, ["ask"])
    assert done.exit_code == 1
    assert done.output.strip().isprintable()
    assert "nothing wrong" in done.output


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
        "import sys, sealgate.trust.transparency.merkle; "
        "print(any('grpc' in name for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_a_status_that_contradicts_the_grpc_status_gives_no_reason():
    error = Failed(grpc.StatusCode.UNAVAILABLE, Reason.DRAINING)
    error.status = grpc.StatusCode.NOT_FOUND
    assert reason_of(error) is None
    assert refusal_of(error).reason is Reason.CALL_FAILED


def test_a_malformed_status_gives_no_reason():
    error = Failed(grpc.StatusCode.UNAVAILABLE, Reason.DRAINING)
    error.metadata = [("grpc-status-details-bin", b"\xff\xff")]
    assert reason_of(error) is None


def test_an_error_that_is_told_lets_go_of_its_frames_and_those_of_its_causes():
    def fail() -> None:
        try:
            raise ValueError
        except ValueError as cause:
            raise SealgateError(Reason.INTERNAL) from cause

    with pytest.raises(SealgateError) as caught:
        fail()
    error = caught.value
    forget_frames(error)
    assert error.__traceback__ is None
    assert error.__cause__ is not None
    assert error.__cause__.__traceback__ is None


def test_an_error_that_is_its_own_cause_is_told_too():
    error = SealgateError(Reason.INTERNAL)
    error.__cause__ = error
    forget_frames(error)
    assert error.__traceback__ is None
