"""Errors on the command line: the reason and one sentence, without a traceback."""

import errno
from typing import Any

import click
import grpc

from sealgate.cli.output import printable
from sealgate.reasons import Reason, Refusal
from sealgate.remote import reason_name_of, reason_of

_HINTS = {
    Reason.CALL_FAILED: "is `sealgate serve` running?",
    Reason.STEP_UP: "send the input to somebody who may run `sealgate screen allow`, and ask again "
    "with --allowance",
    Reason.TOKEN_EXPIRED: "`sealgate token NAME` prints another, for the profile's token.jwt",
}


class HelpfulGroup(click.Group):
    """Turns refusals, of our own checks and of the gateway's, into errors with a reason."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Refusal as refusal:
            raise _failure(refusal.reason, refusal.detail) from refusal
        except grpc.RpcError as error:
            reason = reason_of(error)
            if reason is not None:
                unknown = reason is Reason.REASON_UNKNOWN
                raise _failure(reason, reason_name_of(error) if unknown else "") from error
            raise click.ClickException(printable(_unexplained(error))) from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            name = printable(error.filename or "a file")
            raise click.ClickException(f"{name}: {error.strerror}") from error


def _failure(reason: Reason, detail: str) -> click.ClickException:
    detail = "; ".join(text for text in (detail, _HINTS.get(reason)) if text)
    text = f"{reason.name}: {reason.sentence}"
    # It may quote what others wrote.
    return click.ClickException(f"{text} ({printable(detail)})" if detail else text)


def _unexplained(error: grpc.RpcError) -> str:
    """Describe calls that failed before the gateway could give a reason."""
    if isinstance(error, grpc.Call):
        code = error.code()
        if code is grpc.StatusCode.UNAVAILABLE:
            return f"no gateway answers; is `sealgate serve` running? ({error.details()})"
        return f"{code.name}: {error.details()}"
    return str(error)
