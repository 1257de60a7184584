"""gRPC services of an engine: they convert messages and call the engine host."""

import time
from collections.abc import Iterator
from importlib.metadata import version

import grpc

from inference.batching import RequestOptions
from inference.model.inputs import model_input
from inference.server.host import EngineHost
from inference.server.load_request import ALIAS, LoadRequest
from inference.server.requests import (
    CALLER,
    DIGEST,
    URGENT,
    answer_burst,
    read_parameters,
    write_answers,
)
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceServicer
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import read_inputs
from sealgate.trust.fields import check_name, version_number
from sealgate.v1 import engine_pb2
from sealgate.v1.engine_pb2_grpc import EngineServiceServicer


class EngineInferenceService(GRPCInferenceServiceServicer):
    """The methods of the Open Inference Protocol that a gateway needs; others are refused."""

    def __init__(self, host: EngineHost, longest: float) -> None:
        """`longest` is how many seconds a request may take."""
        self._host = host
        self._longest = longest

    def ServerLive(
        self, request: oip.ServerLiveRequest, context: grpc.ServicerContext
    ) -> oip.ServerLiveResponse:
        return oip.ServerLiveResponse(live=True)

    def ServerReady(
        self, request: oip.ServerReadyRequest, context: grpc.ServicerContext
    ) -> oip.ServerReadyResponse:
        ready = any(item.reason is None for item in self._host.engine.index())
        return oip.ServerReadyResponse(ready=ready)

    def ServerMetadata(
        self, request: oip.ServerMetadataRequest, context: grpc.ServicerContext
    ) -> oip.ServerMetadataResponse:
        return oip.ServerMetadataResponse(name="sealgate-engine", version=version("sealgate"))

    def ModelReady(
        self, request: oip.ModelReadyRequest, context: grpc.ServicerContext
    ) -> oip.ModelReadyResponse:
        model = check_name(request.name, Reason.NAME_MALFORMED)
        number = version_number(request.version) if request.version else None
        try:
            self._host.engine.resolve(model, number)
        except SealgateError:
            return oip.ModelReadyResponse(ready=False)
        return oip.ModelReadyResponse(ready=True)

    def ModelInfer(
        self, request: oip.ModelInferRequest, context: grpc.ServicerContext
    ) -> oip.ModelInferResponse:
        model = check_name(request.model_name, Reason.NAME_MALFORMED)
        kinds = {DIGEST: "string_param", URGENT: "bool_param", CALLER: "string_param"}
        parameters = read_parameters(request.parameters, kinds)
        digest, urgent = str(parameters.get(DIGEST, "")), bool(parameters.get(URGENT, False))
        caller = str(parameters.get(CALLER, ""))
        live = self._host.resolve(model, version_number(request.model_version), digest)
        x = model_input(live.config, read_inputs(request))
        left = context.time_remaining()
        granted = self._longest if left is None else min(left, self._longest)
        until = time.monotonic() + granted
        options = RequestOptions(until, context.is_active, urgent, caller)
        answer = self._host.infer(live, x, options)
        response = oip.ModelInferResponse(
            model_name=model, model_version=request.model_version, id=request.id
        )
        write_answers(response, [answer])
        return response

    def ModelStreamInfer(
        self, requests: Iterator[oip.ModelInferRequest], context: grpc.ServicerContext
    ) -> Iterator[oip.ModelStreamInferResponse]:
        raise SealgateError(Reason.METHOD_UNSUITED, "graphs are run here")

    def RepositoryIndex(
        self, request: oip.RepositoryIndexRequest, context: grpc.ServicerContext
    ) -> oip.RepositoryIndexResponse:
        return oip.RepositoryIndexResponse(
            models=[
                oip.RepositoryIndexResponse.ModelIndex(
                    name=item.model,
                    version=str(item.version) if item.version else "",
                    state="READY" if item.reason is None else "UNAVAILABLE",
                    reason="" if item.reason is None else item.reason.name,
                )
                for item in self._host.engine.index()
                if item.reason is None or not request.ready
            ]
        )

    def RepositoryModelLoad(
        self, request: oip.RepositoryModelLoadRequest, context: grpc.ServicerContext
    ) -> oip.RepositoryModelLoadResponse:
        self._host.load(read_load(request))
        return oip.RepositoryModelLoadResponse()

    def RepositoryModelUnload(
        self, request: oip.RepositoryModelUnloadRequest, context: grpc.ServicerContext
    ) -> oip.RepositoryModelUnloadResponse:
        # Loading follows signed statements: a version ends by a move or by its revocation.
        raise SealgateError(Reason.PROMOTION_ONLY, "unload")


class EngineOwnService(EngineServiceServicer):
    """The methods that the protocol lacks: signed counts, costs of batches, and bursts."""

    def __init__(self, host: EngineHost, longest: float) -> None:
        """`longest` is how many seconds a request may take."""
        self._host = host
        self._longest = longest

    def GetCounts(
        self, request: engine_pb2.GetCountsRequest, context: grpc.ServicerContext
    ) -> engine_pb2.GetCountsResponse:
        return engine_pb2.GetCountsResponse(envelope=self._host.counts().encode())

    def GetCosts(
        self, request: engine_pb2.GetCostsRequest, context: grpc.ServicerContext
    ) -> engine_pb2.GetCostsResponse:
        model = check_name(request.model, Reason.NAME_MALFORMED)
        place, costs = self._host.costs(model, version_number(request.version), request.digest)
        return engine_pb2.GetCostsResponse(
            batches=[
                engine_pb2.BatchCost(rows=rows, seconds=seconds) for rows, seconds in costs.batches
            ],
            lanes=costs.lanes,
            place=place,
        )

    def InferBurst(
        self, request: engine_pb2.InferBurstRequest, context: grpc.ServicerContext
    ) -> engine_pb2.InferBurstResponse:
        left = context.time_remaining()
        granted = self._longest if left is None else min(left, self._longest)
        return answer_burst(self._host, request, granted, context.is_active)


def read_load(request: oip.RepositoryModelLoadRequest) -> LoadRequest:
    """Raises: PARAMETER_MALFORMED, NAME_MALFORMED, DOCUMENT_MALFORMED."""
    if request.repository_name:
        raise SealgateError(Reason.PARAMETER_MALFORMED, "repository_name")
    parts: dict[str, bytes] = {}
    alias = ""
    for name, value in request.parameters.items():
        kind = value.WhichOneof("parameter_choice")
        if kind != ("string_param" if name == ALIAS else "bytes_param"):
            raise SealgateError(Reason.PARAMETER_MALFORMED, name[:64])
        if name == ALIAS:
            alias = value.string_param
        else:
            parts[name] = value.bytes_param
    return LoadRequest.read(request.model_name, alias, parts)


def write_load(load: LoadRequest) -> oip.RepositoryModelLoadRequest:
    """Writes the message that `read_load` reads."""
    model, alias = load.place
    request = oip.RepositoryModelLoadRequest(model_name=model)
    request.parameters[ALIAS].string_param = alias
    for name, data in load.parts().items():
        request.parameters[name].bytes_param = data
    return request
