"""The Open Inference Protocol's service: messages in, messages out; the work is done elsewhere."""

from collections.abc import Callable, Iterator
from importlib.metadata import version

from gateway.auth import Rights
from gateway.calls.call import Call
from gateway.calls.messages import choose_encoding
from gateway.calls.params import read_version
from gateway.pipeline import GenerationPipeline, InferencePipeline, describe
from inference.engine import Engine, LiveVersion
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceServicer
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.fields import check_name
from sealgate.trust.policy import DEFAULT_ALIAS, STAFF_ROLES, WILDCARD

# Only what is implemented. Of `model_repository` that is the index alone, so it is not named.
_EXTENSIONS = ("model_configuration", "schedule_policy", "statistics")


class InferenceService(GRPCInferenceServiceServicer):
    """Answers from the engine's live versions. `AuthInterceptor` has admitted each call."""

    def __init__(
        self,
        engine: Engine,
        predict: InferencePipeline,
        generate: GenerationPipeline,
        rights: Rights,
        withdrawn: Callable[[str], str],
        history: Callable[[LiveVersion], list[oip.StatisticsSample]],
    ) -> None:
        """`withdrawn` says when the bound of a version's screening was withdrawn, by digest;
        `history` how a version's counts grew.
        """
        self._engine = engine
        self._withdrawn = withdrawn
        self._history = history
        self._rights = rights
        self._predict = predict
        self._generate = generate

    def ServerLive(self, request: oip.ServerLiveRequest, call: Call) -> oip.ServerLiveResponse:
        return oip.ServerLiveResponse(live=True)

    def ServerReady(self, request: oip.ServerReadyRequest, call: Call) -> oip.ServerReadyResponse:
        return oip.ServerReadyResponse(ready=is_ready(self._engine))

    def ModelReady(self, request: oip.ModelReadyRequest, call: Call) -> oip.ModelReadyResponse:
        try:
            self._resolve(request.name, request.version, call)
        except SealgateError as refusal:
            if refusal.reason is Reason.RIGHT_MISSING:
                raise
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
        live = self._resolve(request.name, request.version, call)
        versions = {item.version for item in self._live(call) if item.model == live.model}
        return describe.metadata(live, versions, self._engine.expired)

    def ModelInfer(self, request: oip.ModelInferRequest, call: Call) -> oip.ModelInferResponse:
        choose_encoding(call)
        if self.generates(request.model_name):
            # It takes as long as a stream does, and as many threads would be taken by it.
            with call.staying():
                return self._generate.whole(request, call)
        return self._predict(request, call)

    def ModelStreamInfer(
        self, requests: Iterator[oip.ModelInferRequest], call: Call
    ) -> Iterator[oip.ModelStreamInferResponse]:
        for request in requests:
            yield from self._generate.stream(request, call)

    def generate(
        self, request: oip.ModelInferRequest, call: Call, streams: bool
    ) -> Iterator[oip.ModelInferResponse]:
        """A language model's answer, for doors of another form; see `GenerationPipeline.parts`."""
        return self._generate.parts(request, call, streams, full=True)

    def generates(self, model: str) -> bool:
        """Whether a live version of that model is a language model."""
        return self._generate.generates(model)

    def generators(self, call: Call) -> list[str]:
        """The language models in production that the caller's rights let them see, in order."""
        return [
            model
            for model, alias in sorted(self._engine.live())
            if alias == DEFAULT_ALIAS
            and self._generate.generates(model)
            and self._may_see(call, model)
        ]

    def ModelConfig(self, request: oip.ModelConfigRequest, call: Call) -> oip.ModelConfigResponse:
        live = self._resolve(request.name, request.version, call)
        return oip.ModelConfigResponse(config=describe.config(live, self._predict.longest))

    def ModelStatistics(
        self, request: oip.ModelStatisticsRequest, call: Call
    ) -> oip.ModelStatisticsResponse:
        if request.name or request.version:
            check_name(request.name, Reason.NAME_MALFORMED)
        if self._is_staff(call):
            self._rights.check(call, "metadata", request.name or WILDCARD)
        number = read_version(request.version)
        found = [
            live
            for live in self._live(call)
            if request.name in ("", live.model) and number in (None, live.version)
        ]
        if request.name and not found:
            # Nothing of that name is live, or nothing that the caller may see, and this says why.
            found.append(self._resolve(request.name, request.version, call))
        return oip.ModelStatisticsResponse(
            model_stats=[self._counted(live, call) for live in found]
        )

    def _counted(self, live: LiveVersion, call: Call) -> oip.ModelStatistics:
        """The statistics of a version. An attacker of screening learns nothing about other callers
        from them.
        """
        found = describe.statistics(live, self._withdrawn(live.digest), self._history(live))
        if not self._is_staff(call):
            found.ClearField("verdicts")
            found.ClearField("screening_withdrawn")
            found.ClearField("history")
        return found

    def RepositoryIndex(
        self, request: oip.RepositoryIndexRequest, call: Call
    ) -> oip.RepositoryIndexResponse:
        """Staff see every version that a pointer names, a client those that answer it."""
        if request.repository_name:
            raise SealgateError(Reason.PARAMETER_MALFORMED, "repository_name")
        if self._is_staff(call):
            self._rights.check(call, "metadata")
            shown = [item for item in self._engine.index() if not (item.reason and request.ready)]
        else:
            own = {(live.model, live.version) for live in self._live(call)}
            shown = [item for item in self._engine.index() if (item.model, item.version) in own]
        return oip.RepositoryIndexResponse(models=map(describe.index_entry, shown))

    def RepositoryModelLoad(
        self, request: oip.RepositoryModelLoadRequest, call: Call
    ) -> oip.RepositoryModelLoadResponse:
        raise SealgateError(Reason.PROMOTION_ONLY, "load")

    def RepositoryModelUnload(
        self, request: oip.RepositoryModelUnloadRequest, call: Call
    ) -> oip.RepositoryModelUnloadResponse:
        raise SealgateError(Reason.PROMOTION_ONLY, "unload")

    def _is_staff(self, call: Call) -> bool:
        return not STAFF_ROLES.isdisjoint(call.principal.roles)

    def _may_see(self, call: Call, model: str, alias: str = DEFAULT_ALIAS) -> bool:
        try:
            self._rights.check(call, "metadata", model, alias)
        except SealgateError as refusal:
            if refusal.reason is not Reason.RIGHT_MISSING:
                raise
            return False
        return True

    def _live(self, call: Call) -> list[LiveVersion]:
        """Every live version once, in order; of a client's, those of aliases that it may see."""
        staff = self._is_staff(call)
        found = {
            (live.model, live.version): live
            for (model, alias), live in self._engine.live().items()
            if staff or self._may_see(call, model, alias)
        }
        return [found[place] for place in sorted(found)]

    def _resolve(self, name: str, version_text: str, call: Call) -> LiveVersion:
        model = check_name(name, Reason.NAME_MALFORMED)
        number = read_version(version_text)
        alias = DEFAULT_ALIAS if number is None else None
        self._rights.check(call, "metadata", model, alias)
        return self._engine.resolve(model, number, alias)


def is_ready(engine: Engine) -> bool:
    """Whether at least one version answers, under a policy and statement that are in force."""
    for model, alias in engine.live():
        try:
            engine.resolve(model, None, alias)
        except SealgateError:
            continue
        return True
    return False
