"""The Open Inference Protocol's service: messages in, messages out; the work is done elsewhere."""

from importlib.metadata import version

from gateway.front_door import Call
from gateway.predict import Predict
from gateway.question import DEFAULT_ALIAS, read_version
from inference.engine import Engine, Live
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceServicer
from sealgate.reasons import Reason, Refusal
from sealgate.trust.names import check_name

# Only what is implemented: none of the protocol's extensions yet.
_EXTENSIONS: tuple[str, ...] = ()
_PLATFORM = "onnxruntime_onnx"


class InferenceService(GRPCInferenceServiceServicer):
    """Answers from the engine's live versions. Each call has passed the front door."""

    def __init__(self, engine: Engine, predict: Predict) -> None:
        self._engine = engine
        self._predict = predict

    def ServerLive(self, request: oip.ServerLiveRequest, call: Call) -> oip.ServerLiveResponse:
        return oip.ServerLiveResponse(live=True)

    def ServerReady(self, request: oip.ServerReadyRequest, call: Call) -> oip.ServerReadyResponse:
        return oip.ServerReadyResponse(ready=is_ready(self._engine))

    def ModelReady(self, request: oip.ModelReadyRequest, call: Call) -> oip.ModelReadyResponse:
        try:
            self._resolve(request.name, request.version)
        except Refusal:
            return oip.ModelReadyResponse(ready=False)
        return oip.ModelReadyResponse(ready=True)

    def ServerMetadata(
        self, request: oip.ServerMetadataRequest, call: Call
    ) -> oip.ServerMetadataResponse:
        return oip.ServerMetadataResponse(
            name="sealgate", version=version("sealgate"), extensions=_EXTENSIONS
        )

    def ModelMetadata(
        self, request: oip.ModelMetadataRequest, call: Call
    ) -> oip.ModelMetadataResponse:
        live = self._resolve(request.name, request.version)
        versions = {
            item.version for (model, _), item in self._engine.live().items() if model == live.model
        }
        response = oip.ModelMetadataResponse(
            name=live.model,
            versions=[str(number) for number in sorted(versions)],
            platform=_PLATFORM,
            properties={
                "digest": live.digest,
                "sequence": str(live.sequence),
                "policy": live.policy,
            },
        )
        for spec, listed in (
            (live.config.input, response.inputs),
            (live.config.output, response.outputs),
        ):
            listed.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
        return response

    def ModelInfer(self, request: oip.ModelInferRequest, call: Call) -> oip.ModelInferResponse:
        return self._predict(request, call)

    def _resolve(self, name: str, version_text: str) -> Live:
        model = check_name(name, Reason.NAME_MALFORMED)
        number = read_version(version_text)
        alias = DEFAULT_ALIAS if number is None else None
        return self._engine.resolve(model, number, alias)


def is_ready(engine: Engine) -> bool:
    """Whether at least one version answers, under a policy and statement that are in force."""
    for model, alias in engine.live():
        try:
            engine.resolve(model, None, alias)
        except Refusal:
            continue
        return True
    return False
