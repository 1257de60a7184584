"""Logs of open databases, shown as a gateway's log service shows them, without a gateway.

It shows any entries that it is given, recorded or not, so that an auditor's checks can be tried on
every lie.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from registry.log.reader import LogReader
from sealgate.reasons import Reason, SealgateError
from sealgate.v1 import log_pb2 as messages
from tests.support.fakes.gateway import Failed


class ShownLogs(grpc.Channel):
    """A channel to a log service over these logs, by origin."""

    def __init__(self, *logs: LogReader, cosigned: str = "") -> None:
        self.logs = {log.origin: log for log in logs}
        self.cosigned = cosigned

    def unary_unary(self, method: str, *_: Any, **__: Any) -> Any:
        return self._guarded(self._answer(method))

    def unary_stream(self, method: str, *_: Any, **__: Any) -> Any:
        answer = self._guarded(self._answer(method))
        return lambda request, **kwargs: iter(answer(request))

    def stream_unary(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    stream_stream = stream_unary

    def subscribe(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError

    unsubscribe = subscribe

    def close(self) -> None:
        pass

    def __enter__(self) -> "ShownLogs":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, method: str) -> Callable[[Any], Any]:
        """The function that answers a method, which is named as Python names it; None for one
        nobody asks.
        """
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", method.rpartition("/")[2]).lower()
        return getattr(self, name, lambda request: None)

    def _guarded(self, answer: Callable[[Any], Any]) -> Callable[..., Any]:
        def call(request: Any, **_: Any) -> Any:
            try:
                return answer(request)
            except SealgateError as refusal:
                raise Failed(grpc.StatusCode.UNKNOWN, refusal.reason) from refusal

        return call

    def _log(self, request: Any) -> LogReader:
        if request.origin not in self.logs:
            raise SealgateError(Reason.LOG_UNKNOWN)
        return self.logs[request.origin]

    def list_logs(self, request: messages.ListLogsRequest) -> messages.ListLogsResponse:
        return messages.ListLogsResponse(origins=sorted(self.logs))

    def get_checkpoint(
        self, request: messages.GetCheckpointRequest
    ) -> messages.GetCheckpointResponse:
        log = self._log(request)
        return messages.GetCheckpointResponse(
            note=log.checkpoint(), witnessed_note=self.cosigned, first=log.first()
        )

    def stream_entries(
        self, request: messages.StreamEntriesRequest
    ) -> list[messages.StreamEntriesResponse]:
        blocks = self._log(request).entries(request.start, request.end)
        return [messages.StreamEntriesResponse(leaves=block) for block in blocks]

    def stream_hashes(
        self, request: messages.StreamHashesRequest
    ) -> list[messages.StreamHashesResponse]:
        return list(self._hashes(request))

    def _hashes(
        self, request: messages.StreamHashesRequest
    ) -> Iterator[messages.StreamHashesResponse]:
        level = request.level
        for hashes in self._log(request).hashes(request.start, request.end, level):
            yield messages.StreamHashesResponse(hashes=hashes, level=level)

    def get_inclusion_proof(
        self, request: messages.GetInclusionProofRequest
    ) -> messages.GetInclusionProofResponse:
        hashes = self._log(request).inclusion(request.index, request.size)
        return messages.GetInclusionProofResponse(hashes=hashes)

    def get_consistency_proof(
        self, request: messages.GetConsistencyProofRequest
    ) -> messages.GetConsistencyProofResponse:
        hashes = self._log(request).consistency(request.old_size, request.new_size)
        return messages.GetConsistencyProofResponse(hashes=hashes)
