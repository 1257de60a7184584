"""The generator's service: messages in, messages out; the work is the version's."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from generation.version import GeneratorVersion
from inference.backends.remote.calls import error_message
from inference.engine.engine import Live
from inference.llm import messages
from inference.llm.messages import Piece
from inference.llm.request import Asked
from inference.server.host import Host
from inference.server.services import CALLER, DIGEST, InferenceService, read_version
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, Refusal
from sealgate.trust.fields import check_name

_KINDS = {DIGEST: "string_param", CALLER: "string_param"}


class GenerationService(InferenceService):
    """What an engine's service has, but that it generates."""

    def __init__(self, host: Host, longest: float, seed: Callable[[], int]) -> None:
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
            piece = messages.read_piece(response)
            ids.extend(piece.ids)
            text, finish = text + piece.text, piece.finish
        whole = _response(request)
        messages.write_piece(whole, Piece(tuple(ids), text, finish))
        return whole

    def ModelStreamInfer(
        self, requests: Iterator[oip.ModelInferRequest], context: grpc.ServicerContext
    ) -> Iterator[oip.ModelStreamInferResponse]:
        for request in requests:
            try:
                for response in self._responses(request, context):
                    yield oip.ModelStreamInferResponse(infer_response=response)
            except Refusal as refusal:
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
            raise Refusal(Reason.METHOD_UNSUITED, "no language model")
        left = context.time_remaining()
        granted = self._longest if left is None else min(left, self._longest)
        deadline = time.monotonic() + granted
        caller = request.parameters[CALLER].string_param if CALLER in request.parameters else ""
        prompt = version.read(asked, deadline, context.is_active)
        with version.answer(prompt, asked.sampling, deadline, context.is_active, caller) as pieces:
            # Before anyone hears of it.
            self._host.ran(live, 1)
            first = _response(request)
            messages.write_prologue(first, prompt.ids, prompt.score)
            yield first
            for piece in pieces:
                response = _response(request)
                messages.write_piece(response, piece)
                yield response

    def _read(self, request: oip.ModelInferRequest) -> tuple[Live, Asked]:
        model = check_name(request.model_name, Reason.NAME_MALFORMED)
        rest = messages.without_sampling(request).parameters
        for name, value in rest.items():
            if value.WhichOneof("parameter_choice") != _KINDS.get(name):
                raise Refusal(Reason.PARAMETER_MALFORMED, name[:64])
        digest = rest[DIGEST].string_param if DIGEST in rest else ""
        live = self._host.resolve(model, read_version(request.model_version), digest)
        return live, messages.read_asked(request, self._seed)


def _response(request: oip.ModelInferRequest) -> oip.ModelInferResponse:
    return oip.ModelInferResponse(
        model_name=request.model_name, model_version=request.model_version, id=request.id
    )
