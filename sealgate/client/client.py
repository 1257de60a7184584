"""The client library's two clients: `Client` for threads, `AioClient` for asyncio."""

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import numpy.typing as npt

from sealgate.client.exchange import Exchange, Pause, Rpc, Steps, calls_of
from sealgate.client.request import InferResult, PreparedRequest
from sealgate.oip import grpc_service_pb2 as oip

T = TypeVar("T")


class Client:
    """A gateway, asked with numpy arrays; every answer is verified before it is handed out.

    Any number of threads may share one. `timeout` is what a call may take in seconds, retries and
    checks included.
    """

    def __init__(self, channel: grpc.Channel, exchange: Exchange, timeout: float) -> None:
        self._channel = channel
        self.calls = calls_of(channel)
        self._exchange = exchange
        self._timeout = timeout

    def infer(
        self,
        model: str,
        inputs: Mapping[str, npt.ArrayLike],
        *,
        timeout: float | None = None,
        **asked: Any,
    ) -> InferResult:
        """Asks `model`; `asked` is the rest of `PreparedRequest.of`: version, alias, outputs,
        subject, allowance, id.

        Raises SealgateError with the gateway's reason or, where what came back does not hold, with
        ours; see `Exchange`.
        """
        return self.ask(PreparedRequest.of(model, inputs, **asked), timeout)

    def ask(self, question: PreparedRequest, timeout: float | None = None) -> InferResult:
        """Asks a question that may have been built elsewhere. Raises like `infer`."""
        return self._run(self._exchange.ask(question, self._seconds(timeout)))

    def is_ready(self, model: str, version: int | None = None) -> bool:
        """Whether the model, or this version of it, is answering."""
        request = oip.ModelReadyRequest(name=model, version=str(version or ""))
        return bool(self._read("ModelReady", request).ready)

    def metadata(self, model: str, version: int | None = None) -> oip.ModelMetadataResponse:
        """The names, types and shapes of a model's tensors, as reported by the gateway."""
        request = oip.ModelMetadataRequest(name=model, version=str(version or ""))
        metadata: oip.ModelMetadataResponse = self._read("ModelMetadata", request)
        return metadata

    def witness_logs(self, timeout: float | None = None) -> dict[str, int]:
        """Checks that every log only grew since it was last seen; returns their sizes.

        Raises: LOG_INCONSISTENT, as LogFork with the two signed checkpoints.
        """
        return self._run(self._exchange.witness_logs(self._seconds(timeout)))

    def close(self) -> None:
        """Closes the connection and writes what was witnessed."""
        self._channel.close()
        self._exchange.witness.save()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self, method: str, request: Any) -> Any:
        return self._run(self._exchange.read(method, request, self._timeout))

    def _seconds(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else timeout

    def _run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    result = self._perform(step)
                except grpc.RpcError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as done:
            value: T = done.value
            return value

    def _perform(self, step: Rpc | Pause) -> Any:
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        return self.calls[step.method](step.request, timeout=step.timeout)


class AioClient:
    """The asyncio counterpart of `Client`, for the tasks of one event loop."""

    def __init__(self, channel: grpc.aio.Channel, exchange: Exchange, timeout: float) -> None:
        self._channel = channel
        self._calls = calls_of(channel)
        self._exchange = exchange
        self._timeout = timeout

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, npt.ArrayLike],
        *,
        timeout: float | None = None,
        **asked: Any,
    ) -> InferResult:
        """See `Client.infer`."""
        return await self.ask(PreparedRequest.of(model, inputs, **asked), timeout)

    async def ask(self, question: PreparedRequest, timeout: float | None = None) -> InferResult:
        """See `Client.ask`."""
        return await self._run(self._exchange.ask(question, self._seconds(timeout)))

    async def is_ready(self, model: str, version: int | None = None) -> bool:
        """See `Client.is_ready`."""
        request = oip.ModelReadyRequest(name=model, version=str(version or ""))
        return bool((await self._read("ModelReady", request)).ready)

    async def metadata(self, model: str, version: int | None = None) -> oip.ModelMetadataResponse:
        """See `Client.metadata`."""
        request = oip.ModelMetadataRequest(name=model, version=str(version or ""))
        metadata: oip.ModelMetadataResponse = await self._read("ModelMetadata", request)
        return metadata

    async def witness_logs(self, timeout: float | None = None) -> dict[str, int]:
        """See `Client.witness_logs`."""
        return await self._run(self._exchange.witness_logs(self._seconds(timeout)))

    async def close(self) -> None:
        """See `Client.close`."""
        await self._channel.close()
        self._exchange.witness.save()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _read(self, method: str, request: Any) -> Any:
        return await self._run(self._exchange.read(method, request, self._timeout))

    def _seconds(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else timeout

    async def _run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    result = await self._perform(step)
                except grpc.RpcError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as done:
            value: T = done.value
            return value

    async def _perform(self, step: Rpc | Pause) -> Any:
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        return await self._calls[step.method](step.request, timeout=step.timeout)
