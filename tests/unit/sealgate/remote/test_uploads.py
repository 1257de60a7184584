"""An uploader before a gateway that asks for what it was not told of."""

from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from sealgate.reasons import Reason
from sealgate.remote.uploads import Package, Uploader
from sealgate.v1 import upload_pb2
from sealgate.v1.upload_pb2_grpc import UploadServiceServicer, add_UploadServiceServicer_to_server
from tests.support.builders.documents.people import refused


class Asking(UploadServiceServicer):
    """A gateway that asks for one file more than the manifest has."""

    def CreateUpload(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        files = [upload_pb2.Upload.File(path=path) for path in ("model.json", "../../id_ed25519")]
        upload = upload_pb2.Upload(name="uploads/1", files=files)
        return upload_pb2.CreateUploadResponse(upload=upload)


@pytest.fixture
def channel() -> Iterator[grpc.Channel]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    add_UploadServiceServicer_to_server(Asking(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    server.stop(None).wait()


def test_a_file_that_the_package_does_not_have(channel: grpc.Channel, tmp_path: Path) -> None:
    manifest: Any = SimpleNamespace(encode=lambda: b"")
    (tmp_path / "model.json").write_bytes(b"{}")
    files = {"model.json": tmp_path / "model.json"}
    package = Package("digits", manifest, b"", (), "", files)
    with refused(Reason.FILE_MISSING):
        Uploader(channel).publish(package)
