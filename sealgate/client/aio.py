"""The client for asyncio: `async with sealgate.connect_aio(…) as client`, on grpc.aio."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import numpy.typing as npt

from sealgate.client.exchange import Exchange, Pause, Rpc, Steps, calls_of
from sealgate.client.request import InferResult, PreparedRequest
from sealgate.oip import grpc_service_pb2 as oip

T = TypeVar("T")


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
