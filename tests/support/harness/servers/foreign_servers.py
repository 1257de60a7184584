"""Servers of the protocol that are not ours: a real MLServer, and a small one to be spoilt."""

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import grpc
import onnxruntime

from demo.stage import free_ports
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip import grpc_service_pb2_grpc as services
from sealgate.setup.credentials import Certificate
from sealgate.tensors import Tensor, read_inputs, write_outputs
from tests.support.oracles.programs import own_python_with

RUNTIME = Path(__file__).with_name("mlserver_runtime.py")
_PATIENCE = 60.0


class ForeignServer(Protocol):
    """A server at `address` to which models can be deployed."""

    address: str

    def deploy(self, model: str, version: int, graph: bytes) -> None:
        """Serves the graph as that version of the model, and as no other."""
        ...


class SmallServer(services.GRPCInferenceServiceServicer):
    """Serves ONNX graphs by onnxruntime; `spoil` may change each answer before it leaves."""

    def __init__(self, own: Certificate | None = None, callers: bytes | None = None) -> None:
        """With a certificate of its `own`: by TLS, for those whom `callers` has signed."""
        self._sessions: dict[tuple[str, str], onnxruntime.InferenceSession] = {}
        self.spoil: Callable[[oip.ModelInferResponse], None] = lambda response: None
        self.refuse_with: grpc.StatusCode | None = None
        self.asked = 0
        self._server = grpc.server(ThreadPoolExecutor(4))
        services.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        if own is None:
            self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        else:
            credentials = grpc.ssl_server_credentials(
                [(own.key, own.certificate)], callers, require_client_auth=True
            )
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
            self.address = f"localhost:{port}"
        self._server.start()

    def deploy(self, model: str, version: int, graph: bytes) -> None:
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self._sessions = {(model, str(version)): session}

    def ModelReady(  # noqa: N802 - as the protocol names it
        self, request: oip.ModelReadyRequest, context: grpc.ServicerContext
    ) -> oip.ModelReadyResponse:
        self.asked += 1
        return oip.ModelReadyResponse(ready=(request.name, request.version) in self._sessions)

    def ModelInfer(  # noqa: N802 - as the protocol names it
        self, request: oip.ModelInferRequest, context: grpc.ServicerContext
    ) -> oip.ModelInferResponse:
        self.asked += 1
        if self.refuse_with is not None:
            context.abort(self.refuse_with, "Traceback: a secret of the server")
        session = self._sessions.get((request.model_name, request.model_version))
        if session is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        feeds = {name: tensor.data for name, tensor in read_inputs(request).items()}
        (logits,) = session.run(["logits"], feeds)
        response = oip.ModelInferResponse(
            model_name=request.model_name, model_version=request.model_version
        )
        write_outputs(response, [Tensor.of("logits", logits)])
        self.spoil(response)
        return response

    def stop(self) -> None:
        self._server.stop(None).wait()


class MlServer:
    """A real MLServer, in a process of its own, with `mlserver_runtime` and one model."""

    def __init__(self, folder: Path) -> None:
        self._program = Path(own_python_with("mlserver")).with_name("mlserver")
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        port = free_ports()
        self.address = f"127.0.0.1:{port}"
        settings = {
            "host": "127.0.0.1",
            "grpc_port": port,
            "http_port": port + 1,
            "metrics_endpoint": None,
            "parallel_workers": 0,
            "debug": False,
        }
        (folder / "settings.json").write_text(json.dumps(settings))

    def deploy(self, model: str, version: int, graph: bytes) -> None:
        """A server loads what it finds when it starts: it is started anew."""
        self.stop()
        home = self._folder / "model"
        home.mkdir(exist_ok=True)
        shutil.copy(RUNTIME, home)
        (home / "served.onnx").write_bytes(graph)
        settings = {
            "name": model,
            "implementation": f"{RUNTIME.stem}.OnnxModel",
            "parameters": {"uri": str(home / "served.onnx"), "version": str(version)},
        }
        (home / "model-settings.json").write_text(json.dumps(settings))
        self._process = subprocess.Popen(
            [self._program, "start", self._folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._await(model, version)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_PATIENCE)
            finally:
                self._process.kill()
            self._process = None

    def _await(self, model: str, version: int) -> None:
        request = oip.ModelReadyRequest(name=model, version=str(version))
        deadline = time.monotonic() + _PATIENCE
        with grpc.insecure_channel(self.address) as channel:
            stub = services.GRPCInferenceServiceStub(channel)
            while time.monotonic() < deadline:
                assert self._process is not None
                assert self._process.poll() is None, "MLServer ended"
                with contextlib.suppress(grpc.RpcError):
                    if stub.ModelReady(request, timeout=5, wait_for_ready=True).ready:
                        return
                time.sleep(0.05)
        raise TimeoutError("MLServer is not ready")


@contextmanager
def small_server() -> Iterator[SmallServer]:
    server = SmallServer()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def ml_server(folder: Path) -> Iterator[MlServer]:
    server = MlServer(folder)
    try:
        yield server
    finally:
        server.stop()
