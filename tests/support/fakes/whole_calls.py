"""Calls that come whole, as a transport for bursts hands them over, and remember how they end."""

import threading
from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from gateway.auth.certificates import PEM_PROPERTY
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.remote import Profile


class FakeWholeCall:
    """A ModelInfer call with a bearer credential, a certificate (PEM), or neither."""

    def __init__(
        self,
        request: Message | bytes,
        authorization: str | None = None,
        certificate: bytes | None = None,
    ) -> None:
        self.message = request if isinstance(request, bytes) else request.SerializeToString()
        self._metadata = [("authorization", authorization)] if authorization else []
        self._properties = {PEM_PROPERTY: [certificate]} if certificate else {}
        self.left: float | None = None
        self.is_there = True
        self.is_known = False
        self.alike: tuple[bytes, float] | None = None
        self.answered: oip.ModelInferResponse | None = None
        self.status: Any = None
        self.ended = threading.Event()

    @classmethod
    def by(cls, profile: Profile, request: Message | bytes) -> "FakeWholeCall":
        """A call with the credential of a person's profile."""
        if profile.certificate is not None:
            return cls(request, certificate=profile.certificate.read_bytes())
        assert profile.token is not None
        return cls(request, f"Bearer {profile.token.read_text().strip()}")

    @property
    def reason(self) -> Reason | None:
        """Why the call was refused; None where it was answered."""
        assert self.ended.wait(60)
        if self.status is None:
            return None
        for key, value in self.status.trailing_metadata:
            if key == "grpc-status-details-bin":
                info = error_details_pb2.ErrorInfo()
                status_pb2.Status.FromString(value).details[0].Unpack(info)
                return Reason[info.reason]
        raise AssertionError(self.status)

    def answer(self, message: bytes) -> None:
        assert not self.ended.is_set()
        self.answered = oip.ModelInferResponse.FromString(message)
        self.ended.set()

    def refuse(self, status: grpc.Status) -> None:
        assert not self.ended.is_set()
        self.status = status
        self.ended.set()

    def refuse_alike(self, status: grpc.Status, beginning: int, seconds: float) -> None:
        """Remembers how refused calls begin, and for how long."""
        self.alike = self.message[:beginning], seconds

    def note_caller(self) -> None:
        self.is_known = True

    def flush(self) -> None:
        """The answers have left already."""

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        return self._metadata

    def auth_context(self) -> dict[str, Any]:
        return self._properties

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def time_remaining(self) -> float | None:
        return self.left

    def is_active(self) -> bool:
        return self.is_there

    def set_compression(self, compression: grpc.Compression) -> None:
        pass
