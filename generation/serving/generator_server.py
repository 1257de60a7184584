"""Composition root of the generator's process, and its gRPC service.

Loads versions of language models from private copies of verified files. The copies lie where nobody
else writes, so the bytes that were hashed are loaded. One file is in memory at a time, and none
once its weights are: a model of gigabytes is never there twice.
"""

import logging
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import torch

from generation.config import GenerationSettings, GeneratorConfig
from generation.serving.generator_version import GeneratorVersion
from inference.backends.remote.generator import read_terms
from inference.backends.remote.messages import error_message
from inference.engine import (
    Engine,
    FileSource,
    LiveVersion,
    RollbackGuardFile,
    ServableVersion,
    TrustAnchor,
    VerifiedPointer,
    read_file,
)
from inference.llm import messages
from inference.llm.messages import AnswerPart
from inference.llm.request import SamplingRequest
from inference.llm.terms import check_paths
from inference.runtime.providers import TorchDevice, select_device
from inference.runtime.settings import CPU
from inference.server.host import EngineHost, RunTally
from inference.server.requests import CALLER, DIGEST
from inference.server.server import EngineServer
from inference.server.services import EngineInferenceService
from registry.storage.artifacts import ArtifactStore, FolderStore
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from sealgate.steady_clock import now
from sealgate.trust.fields import check_name, version_number
from sealgate.trust.keys import load_private_key, load_public_key, write_private_file
from sealgate.trust.statements import FileEntry, Manifest
from sealgate.trust.statements.covering import INSTANCE_BYTES


def copy_verified(manifest: Manifest, source: FileSource, copies: Path) -> Path:
    """A new folder below `copies` with the files of a manifest, each of the stated bytes.

    Raises SealgateError: FILE_MISSING, FILE_SURPLUS, VERSION_ALTERED, STORAGE_FULL, and as the
    source.
    """
    check_paths(entry.path for entry in manifest.files)
    try:
        copies.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Of mode 0700.
        folder = Path(tempfile.mkdtemp(dir=copies))
    except OSError as error:
        raise SealgateError(Reason.STORAGE_FULL, f"{copies}: {error.strerror}") from error
    try:
        for entry in manifest.files:
            _copy(entry, source, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _copy(entry: FileEntry, source: FileSource, folder: Path) -> None:
    data = read_file(entry, source)
    try:
        write_private_file(folder / entry.path, data)
    except OSError as error:
        raise SealgateError(Reason.STORAGE_FULL, str(error.strerror)) from error


_log = logging.getLogger(__name__)


class GeneratorLoader:
    """A `VersionLoader` for language models."""

    def __init__(
        self, settings: GenerationSettings, on_lost: Callable[[], None] = lambda: None
    ) -> None:
        """Removes what a process that was killed left in the folder of copies. `on_lost` is called
        when a process of a split model ends: what is left of it answers nothing.

        Raises: ConfigError for a device that is not there.
        """
        self._settings = settings
        self._on_lost = on_lost
        self._device = _device(settings)
        _log.info("language models are computed on %s", self._device.said)
        _clear(settings.copies)

    def load(
        self, cleared: VerifiedPointer, source: FileSource, loaded: ServableVersion | None
    ) -> ServableVersion:
        """See `VersionLoader`. Raises SealgateError as `read_terms`, `copy_verified` and
        `GeneratorVersion.build` do.
        """
        if loaded is not None:
            return loaded
        read_terms(cleared, source)
        folder = copy_verified(cleared.manifest, source, self._settings.copies)
        try:
            digest = cleared.pointer.digest
            version = GeneratorVersion.build(
                *(digest, folder, self._settings, self._device), self._on_lost
            )
        finally:
            # Mapped files stay mapped, and nobody can write to them any more.
            shutil.rmtree(folder, ignore_errors=True)
        pages, place = version.batches.room.free, version.place or CPU
        _log.info("%s generates on %s: %d pages", version.digest, place, pages)
        return version


def _device(settings: GenerationSettings) -> TorchDevice:
    """The configured device, of which processes that share a model need one each if it is a card.

    Raises: ConfigError.
    """
    given = (settings.fallback, torch)
    if settings.processes > 1 and settings.device != CPU:
        for number in range(settings.processes):
            found = select_device("generation", f"{settings.device}:{number}", *given)
            if found.is_cpu:
                return found
    return select_device("generation", settings.device, *given)


def _clear(copies: Path) -> None:
    if copies.is_dir():
        for left in copies.iterdir():
            shutil.rmtree(left, ignore_errors=True)


_KINDS = {DIGEST: "string_param", CALLER: "string_param"}


class GenerationService(EngineInferenceService):
    """An engine's inference service that generates."""

    def __init__(self, host: EngineHost, longest: float, seed: Callable[[], int]) -> None:
        """`longest` is how many seconds an answer may take; `seed` draws one for whom asks so."""
        super().__init__(host, longest)
        self._seed = seed

    def ModelInfer(
        self, request: oip.ModelInferRequest, context: grpc.ServicerContext
    ) -> oip.ModelInferResponse:
        ids: list[int] = []
        text, finish = b"", ""
        responses = self._responses(request, context)
        # The prologue.
        next(responses)
        for response in responses:
            piece = messages.read_part(response)
            ids.extend(piece.ids)
            text, finish = text + piece.text, piece.finish
        whole = _response(request)
        messages.write_part(whole, AnswerPart(tuple(ids), text, finish))
        return whole

    def ModelStreamInfer(
        self, requests: Iterator[oip.ModelInferRequest], context: grpc.ServicerContext
    ) -> Iterator[oip.ModelStreamInferResponse]:
        for request in requests:
            try:
                for response in self._responses(request, context):
                    yield oip.ModelStreamInferResponse(infer_response=response)
            except SealgateError as refusal:
                yield oip.ModelStreamInferResponse(
                    error_message=error_message(refusal), infer_response=_response(request)
                )

    def _responses(
        self, request: oip.ModelInferRequest, context: Any
    ) -> Iterator[oip.ModelInferResponse]:
        """The prologue, then a response for each token."""
        live, asked = self._read(request)
        version = live.ready
        if not isinstance(version, GeneratorVersion):
            raise SealgateError(Reason.METHOD_UNSUITED, "no language model")
        left = context.time_remaining()
        granted = self._longest if left is None else min(left, self._longest)
        deadline = time.monotonic() + granted
        caller = request.parameters[CALLER].string_param if CALLER in request.parameters else ""
        prompt = version.read(asked, deadline, context.is_active)
        with version.answer(prompt, asked.sampling, deadline, context.is_active, caller) as pieces:
            # Count it before the answer is sent.
            self._host.ran(live, 1)
            first = _response(request)
            messages.write_prologue(first, prompt.ids, prompt.score, version.place)
            yield first
            for piece in pieces:
                response = _response(request)
                messages.write_part(response, piece)
                yield response

    def _read(self, request: oip.ModelInferRequest) -> tuple[LiveVersion, SamplingRequest]:
        model = check_name(request.model_name, Reason.NAME_MALFORMED)
        rest = messages.without_sampling(request).parameters
        for name, value in rest.items():
            if value.WhichOneof("parameter_choice") != _KINDS.get(name):
                raise SealgateError(Reason.PARAMETER_MALFORMED, name[:64])
        digest = rest[DIGEST].string_param if DIGEST in rest else ""
        live = self._host.resolve(model, version_number(request.model_version), digest)
        return live, messages.read_sampling_request(request, self._seed)


def _response(request: oip.ModelInferRequest) -> oip.ModelInferResponse:
    return oip.ModelInferResponse(
        model_name=request.model_name, model_version=request.model_version, id=request.id
    )


_SEEDS = 2**53


def build(config: GeneratorConfig, on_lost: Callable[[], None] = lambda: None) -> EngineServer:
    """Binds the listener and opens what the generator has of its own; `start` begins to answer.
    `on_lost` is as for `GeneratorLoader`.

    Raises: ConfigError.
    """
    try:
        keys = [load_public_key(path) for path in config.trust.root_keys]
        anchor = TrustAnchor({key.keyid: key for key in keys}, config.trust.threshold)
        instance = secrets.token_hex(INSTANCE_BYTES)
        tally = RunTally(config.engine.name, instance, load_private_key(config.engine.key), now)
        seen = RollbackGuardFile.open(config.trust.seen)
        engine = Engine(anchor, seen, now, GeneratorLoader(config.generation, on_lost))
        host = EngineHost(engine, seen, _store(config), tally, now, config.limits.deadline)
        service = GenerationService(host, config.limits.deadline, lambda: secrets.randbelow(_SEEDS))
        return EngineServer(config.as_engine(), host, service)
    except SealgateError as refusal:
        raise ConfigError(f"{refusal.reason.name}: {refusal.detail}") from refusal
    except OSError as error:
        raise ConfigError(f"cannot read {error.filename}: {error.strerror}") from error


def _store(config: GeneratorConfig) -> ArtifactStore:
    place = config.artifacts.place
    if isinstance(place, Path):
        return FolderStore(place, read_only=True)
    try:
        # Only the extra `s3` brings what this needs.
        from registry.storage.artifact_bucket import BucketStore
    except ImportError as error:
        raise ConfigError("obstore is not installed: pip install 'sealgate[s3]'") from error
    return BucketStore(config.artifacts.bucket(place))
