"""UploadService: resumable uploads, as messages in and messages out.

The rules are in `registry.uploads.open_uploads`.
"""

from collections.abc import Iterable, Iterator

from gateway.auth import Rights
from gateway.calls.call import Call
from gateway.services.registry_messages import once, version_message
from registry.uploads import OpenUpload, OpenUploads
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.fields import check_name
from sealgate.trust.statements.manifest import check_path
from sealgate.trust.times import format_time
from sealgate.v1 import registry_pb2 as registry_messages
from sealgate.v1 import upload_pb2 as messages
from sealgate.v1.upload_pb2_grpc import UploadServiceServicer

_PREFIX = "uploads/"


class UploadService(UploadServiceServicer):
    """`AuthInterceptor` has admitted each call; the right to publish the model is asked anew by
    each.
    """

    def __init__(self, uploads: OpenUploads, rights: Rights) -> None:
        self._uploads = uploads
        self._rights = rights

    def CreateUpload(
        self, request: messages.CreateUploadRequest, call: Call
    ) -> messages.CreateUploadResponse:
        self._rights.check(call, "publish", check_name(request.model))
        upload = self._uploads.create(
            call.principal.name,
            request.model,
            request.manifest,
            once(request),
            request.signature or None,
        )
        return messages.CreateUploadResponse(upload=_message(upload))

    def GetUpload(
        self, request: messages.GetUploadRequest, call: Call
    ) -> messages.GetUploadResponse:
        return messages.GetUploadResponse(upload=_message(self._find(request.name, call)))

    def UploadFile(
        self, request: Iterator[messages.UploadFileRequest], call: Call
    ) -> messages.UploadFileResponse:
        first = next(request, None)
        if first is None or first.WhichOneof("part") != "header":
            raise SealgateError(Reason.DOCUMENT_MALFORMED, "a file begins with its header")
        header = first.header
        upload = self._find(header.name, call)
        received = self._uploads.receive(
            upload, check_path(header.path), header.offset, _chunks(request)
        )
        return messages.UploadFileResponse(received=received)

    def CreateVersion(
        self, request: messages.CreateVersionRequest, call: Call
    ) -> messages.CreateVersionResponse:
        same = once(request)
        record = self._uploads.done(call.principal.name, same)
        if record is None:
            upload = self._find(request.name, call)
            record = self._uploads.register(
                upload, request.signature, request.evidence, request.commitment, same
            )
        else:
            # The upload is gone with what it was for.
            self._rights.check(call, "publish", record.model)
        return messages.CreateVersionResponse(version=version_message(record))

    def DeleteUpload(
        self, request: messages.DeleteUploadRequest, call: Call
    ) -> messages.DeleteUploadResponse:
        self._uploads.remove(self._find(request.name, call))
        return messages.DeleteUploadResponse()

    def _find(self, name: str, call: Call) -> OpenUpload:
        if not name.startswith(_PREFIX):
            raise SealgateError(Reason.NAME_MALFORMED, "not uploads/{upload}")
        upload = self._uploads.get(call.principal.name, name.removeprefix(_PREFIX))
        self._rights.check(call, "publish", upload.model)
        return upload


def _chunks(stream: Iterator[messages.UploadFileRequest]) -> Iterator[bytes]:
    for message in stream:
        if message.WhichOneof("part") != "chunk":
            raise SealgateError(Reason.DOCUMENT_MALFORMED, "a header among the chunks")
        yield message.chunk


def _message(upload: OpenUpload) -> messages.Upload:
    files = [
        messages.Upload.File(path=entry.path, size=entry.size, received=received)
        for entry, received in zip(upload.manifest.files, upload.received, strict=True)
    ]
    return messages.Upload(
        name=f"{_PREFIX}{upload.name}",
        model=upload.model,
        expire_time=format_time(upload.expires),
        files=files,
    )


class UploadParts:
    """An upload's stream: a header, then files, each a path and its chunks."""

    def __init__(self, stream: Iterator[registry_messages.UploadVersionRequest]) -> None:
        self._stream = stream
        self._next: registry_messages.UploadVersionRequest | None = None

    def header(self) -> registry_messages.UploadVersionRequest.Header:
        first = next(self._stream, None)
        if first is None or first.WhichOneof("part") != "header":
            raise SealgateError(Reason.DOCUMENT_MALFORMED, "an upload begins with its header")
        return first.header

    def files(self) -> Iterable[str]:
        """The path of each file; its chunks are to be taken before the next."""
        self._advance()
        while self._next is not None:
            if self._next.WhichOneof("part") != "file":
                raise SealgateError(Reason.DOCUMENT_MALFORMED, "a chunk without a file")
            yield self._next.file

    def chunks(self) -> Iterable[bytes]:
        """The chunks of the file whose path came last."""
        self._advance()
        while self._next is not None and self._next.WhichOneof("part") == "chunk":
            yield self._next.chunk
            self._advance()

    def _advance(self) -> None:
        self._next = next(self._stream, None)
