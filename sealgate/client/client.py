"""The client library: `connect` builds a `Client` for threads, `connect_aio` one for asyncio."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Required, Self, TypedDict, TypeVar, Unpack

import grpc
import numpy.typing as npt

from sealgate.client.consistency import ClientMemoryFile, ConsistencyChecker
from sealgate.client.exchange import CallerIdentity, Exchange, Pause, Rpc, Steps, calls_of
from sealgate.client.request import InferResult, PinnedRoots, PreparedRequest
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.remote import Access, Profile
from sealgate.remote.calls import Retries
from sealgate.remote.connection import CHANNEL_OPTIONS

T = TypeVar("T")
# PEM, or the path of a file that holds it.
Pem = bytes | str | Path

_SECONDS = 30.0


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


class Options(TypedDict, total=False):
    """Options of a connection. An option that takes a file's content also takes its path.

    - `root_keys`, `root_threshold`: the pinned keys of the policy's root, and how many of them
      must have signed the first policy.
    - `authority`: who signs the gateway's certificate; default: whom the system trusts.
    - `token`: a bearer token, or a function that is asked for one before each call.
    - `certificate`, `certificate_key`: for mutual TLS.
    - `principal`: the caller's name in the policy, if the credentials do not tell it.
    - `witness`: a file that keeps what was last seen of each log, across runs.
    - `timeout`: what a call may take in seconds, retries and checks included; default 30.
    - `retries`: when a refused call is made again.
    - `unsafe_v1_receipts`: take answers of a gateway too old to record alias, parameters and a
      nonce, none of which is then checked: whoever relays the call can have another version answer,
      or show the answer of five minutes ago again. Default False.
    """

    root_keys: Required[Iterable[Pem]]
    root_threshold: Required[int]
    authority: Pem
    token: str | Callable[[], str]
    certificate: Pem
    certificate_key: Pem
    principal: str
    witness: Path
    timeout: float
    retries: Retries
    unsafe_v1_receipts: bool


def connect(url: str, **options: Unpack[Options]) -> Client:
    """A client of the gateway at `url` (`host:port` or `https://host:port`), always over TLS.

    Nothing is sent yet. Raises ValueError for another kind of address, and SealgateError for root
    keys that are none or a witness's file that is not its own.
    """
    access = _access(url, options)
    channel = grpc.secure_channel(access.endpoint, access.credentials(), CHANNEL_OPTIONS)
    return Client(channel, _exchange(access, options), options.get("timeout", _SECONDS))


def connect_aio(url: str, **options: Unpack[Options]) -> AioClient:
    """Return an asyncio client; options as for `connect`."""
    access = _access(url, options)
    channel = grpc.aio.secure_channel(access.endpoint, access.credentials(), CHANNEL_OPTIONS)
    return AioClient(channel, _exchange(access, options), options.get("timeout", _SECONDS))


def options_of(profile: Profile) -> Options:
    """A profile as options; its `endpoint` is the address."""
    options = Options(
        root_keys=profile.root_keys,
        root_threshold=profile.root_threshold,
        authority=profile.server_authority,
        principal=profile.name,
    )
    if profile.token is not None:
        options["token"] = profile.token.read_text().strip()
    if profile.certificate is not None and profile.certificate_key is not None:
        options["certificate"] = profile.certificate
        options["certificate_key"] = profile.certificate_key
    if profile.witness is not None:
        options["witness"] = profile.witness
    return options


def _access(url: str, options: Options) -> Access:
    scheme, separator, address = url.partition("://")
    if separator and scheme not in ("https", "dns"):
        raise ValueError(f"{url}: a gateway is reached as host:port or https://host:port")
    return Access(
        endpoint=address.rstrip("/") if scheme == "https" else url,
        server_authority=_bytes(options.get("authority")),
        token=options.get("token"),
        certificate=_bytes(options.get("certificate")),
        certificate_key=_bytes(options.get("certificate_key")),
    )


def _exchange(access: Access, options: Options) -> Exchange:
    pems = [(_bytes(key) or b"").decode() for key in options["root_keys"]]
    file = options.get("witness")
    return Exchange(
        PinnedRoots.of(pems, options["root_threshold"]),
        CallerIdentity(options.get("principal"), access.identities),
        ConsistencyChecker(ClientMemoryFile(Path(file)) if file is not None else None),
        options.get("retries", Retries()),
        takes_v1=options.get("unsafe_v1_receipts", False),
    )


def _bytes(pem: Pem | None) -> bytes | None:
    if isinstance(pem, Path):
        return pem.read_bytes()
    return pem.encode() if isinstance(pem, str) else pem
