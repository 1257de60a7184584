"""Checks the time stamps on a log's checkpoints against an authority that the auditor pins."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import grpc

from sealgate.audit.tree_check import Claim
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.times import format_time
from sealgate.trust.timestamps import Timestamp, TimestampAuthority
from sealgate.trust.transparency import open_checkpoint
from sealgate.v1.log_pb2 import StreamTimestampsRequest
from sealgate.v1.log_pb2_grpc import LogServiceStub

_APART = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class StampAuthority:
    """The authority whose stamps are asked for, and the time now."""

    authority: TimestampAuthority
    now: datetime


@dataclass(frozen=True, slots=True)
class CheckedStamps:
    """What the stamps of a log claim; how many entries the newest is of, and its time in text."""

    claims: tuple[Claim, ...] = ()
    size: int = 0
    time: str = ""


def check_stamps(
    logs: LogServiceStub, origin: str, vkey: str, asked: StampAuthority | None
) -> CheckedStamps:
    """Check each stamp that the gateway keeps of a log; none where no authority is asked for.

    1. Its checkpoint is this log's, signed by a key of `vkey` (SIGNATURE_INVALID,
       LOG_INCONSISTENT).
    2. The authority has stamped that note; see `TimestampAuthority.verify`.
    3. Its time is not to come (TIMESTAMP_MISMATCH).

    That the log extends what was stamped, the claims are for.
    """
    if asked is None:
        return CheckedStamps()
    claims, newest = [], CheckedStamps()
    for stamp in kept_stamps(logs, origin):
        # 1.
        checkpoint = open_checkpoint(stamp.note, vkey)
        # 2.
        time = asked.authority.verify(stamp)
        # 3.
        if time > asked.now + _APART:
            raise SealgateError(Reason.TIMESTAMP_MISMATCH, f"{origin}: a stamp of {time}")
        told = format_time(time)
        claims.append(Claim(checkpoint.size, checkpoint.root, f"the time stamp of {told}"))
        if told >= newest.time:
            newest = CheckedStamps((), checkpoint.size, told)
    return CheckedStamps(tuple(claims), newest.size, newest.time)


def kept_stamps(logs: LogServiceStub, origin: str) -> list[Timestamp]:
    """The stamps that the gateway keeps of a log, unchecked. Raises grpc.RpcError."""
    try:
        found = list(logs.StreamTimestamps(StreamTimestampsRequest(origin=origin)))
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            # A gateway of an earlier release keeps none.
            return []
        raise
    return [Timestamp(each.note, each.stamp) for each in found]
