"""The stream of an upload, taken apart."""

from collections.abc import Iterable, Iterator

from sealgate.reasons import Reason, Refusal
from sealgate.v1 import registry_pb2 as messages


class UploadParts:
    """An upload's stream: a header, then files, each a path and its chunks."""

    def __init__(self, stream: Iterator[messages.UploadVersionRequest]) -> None:
        self._stream = stream
        self._next: messages.UploadVersionRequest | None = None

    def header(self) -> messages.UploadVersionRequest.Header:
        first = next(self._stream, None)
        if first is None or first.WhichOneof("part") != "header":
            raise Refusal(Reason.DOCUMENT_MALFORMED, "an upload begins with its header")
        return first.header

    def files(self) -> Iterable[str]:
        """The path of each file; its chunks are to be taken before the next."""
        self._advance()
        while self._next is not None:
            if self._next.WhichOneof("part") != "file":
                raise Refusal(Reason.DOCUMENT_MALFORMED, "a chunk without a file")
            yield self._next.file

    def chunks(self) -> Iterable[bytes]:
        """The chunks of the file whose path came last."""
        self._advance()
        while self._next is not None and self._next.WhichOneof("part") == "chunk":
            yield self._next.chunk
            self._advance()

    def _advance(self) -> None:
        self._next = next(self._stream, None)
