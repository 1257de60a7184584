"""Language models in other processes: the generator interface and its remote implementation."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from inference.backends.remote.messages import OnEnd
from inference.backends.remote.remote_engine import RemoteEngine
from inference.batching import BatcherCounts
from inference.engine import (
    FileSource,
    ServableVersion,
    Source,
    Statistics,
    UntrustedSnapshot,
    VerifiedPointer,
    read_file,
)
from inference.llm.messages import (
    AnswerPart,
    read_part,
    read_place,
    read_prologue,
    write_sampling_request,
)
from inference.llm.request import SamplingRequest
from inference.llm.terms import TERMS, GeneratorTerms, NoClassifier, check_paths, is_generator
from inference.runtime.settings import CPU
from inference.server.requests import CALLER, DIGEST
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.receipts.answer_entry import SEPARATE


@dataclass(frozen=True, slots=True)
class StartedAnswer:
    """An answer that has begun: the prompt's tokens, its score, and the parts as they come.

    The tokens are empty if the model does not reveal them, and the score is None if prompts are not
    screened. `engine` says where it is computed, if the process says more than its `Generator`.
    """

    prompt_ids: tuple[int, ...]
    score: float | None
    pieces: Iterator[AnswerPart]
    engine: str = ""


class Generator(NoClassifier, ABC):
    """A `ServableVersion` that generates in another process; `engine` says where."""

    def __init__(self, cleared: VerifiedPointer, terms: GeneratorTerms, engine: str) -> None:
        self._model, self._number = cleared.pointer.model, cleared.pointer.version
        self._mutex = threading.Lock()
        self._closed = False
        self._requests = self._dropped = 0
        self.digest = cleared.pointer.digest
        self.engine = engine
        self.statistics = Statistics()
        self.terms = terms

    @property
    def arithmetic(self) -> str:
        """Its number format: empty, because it is not known here."""
        return ""

    def is_of(self, cleared: VerifiedPointer) -> bool:
        """Whether it is the version of that pointer."""
        return (self._model, self._number) == (cleared.pointer.model, cleared.pointer.version)

    def counts(self) -> BatcherCounts:
        """Counts of requests sent from here; a request is a row and a batch of its own."""
        with self._mutex:
            return BatcherCounts(self._requests, self._requests, self._requests, self._dropped, 0)

    def begin(
        self, asked: SamplingRequest, deadline: float, caller: str, on_end: OnEnd
    ) -> AbstractContextManager[StartedAnswer]:
        """Have an answer generated; leaving the block frees its resources.

        `on_end` receives a function that ends it from another thread when nobody listens any more.
        Raises: DRAINING, ENGINE_UNAVAILABLE, DEADLINE_TOO_SHORT, ANSWER_MALFORMED, and a
        generator's own errors; iterating the parts raises the same.
        """
        self.terms.check(asked.sampling)
        if self._closed:
            raise SealgateError(Reason.DRAINING)
        return self._counted(self._begin(asked, deadline, caller, on_end))

    def close(self, timeout: float | None = None) -> bool:
        """Refuse new requests. The caller waits for those in progress."""
        self._closed = True
        return True

    @abstractmethod
    def _begin(
        self, asked: SamplingRequest, deadline: float, caller: str, on_end: OnEnd
    ) -> AbstractContextManager[StartedAnswer]: ...

    @contextmanager
    def _counted(self, answer: AbstractContextManager[StartedAnswer]) -> Iterator[StartedAnswer]:
        try:
            with answer as begun:
                yield begun
        except SealgateError:
            with self._mutex:
                self._dropped += 1
            raise
        with self._mutex:
            self._requests += 1


_ON = "; on "


def place_in(engine: str) -> str:
    """Where an answer was computed, by its entry's `engine`; `cpu` where that says nothing."""
    return engine.rpartition(_ON)[2] if _ON in engine else CPU


# No vocabulary has tokens that are so long on average.
_BYTES = 1024


class RemoteGenerator(Generator):
    """A language model in another process, reached through a `RemoteEngine`."""

    def __init__(
        self, remote: RemoteEngine, cleared: VerifiedPointer, terms: GeneratorTerms
    ) -> None:
        super().__init__(cleared, terms, terms.runs_in(SEPARATE))
        self._remote = remote

    @property
    def arithmetic(self) -> str:
        return self.terms.precision

    @contextmanager
    def _begin(
        self, asked: SamplingRequest, deadline: float, caller: str, on_end: OnEnd
    ) -> Iterator[StartedAnswer]:
        request = oip.ModelInferRequest(model_name=self._model, model_version=str(self._number))
        request.parameters[DIGEST].string_param = self.digest
        request.parameters[CALLER].string_param = caller
        write_sampling_request(request, asked)
        with self._remote.streaming(request, deadline, on_end) as responses:
            first = next(responses, None)
            if first is None:
                raise SealgateError(Reason.ANSWER_MALFORMED, "an empty stream")
            ids, score = read_prologue(first)
            if len(ids) > self.terms.prompt_tokens:
                raise SealgateError(Reason.ANSWER_MALFORMED, "a prompt longer than its terms allow")
            if (score is None) != (self.terms.screening is None):
                raise SealgateError(
                    Reason.ANSWER_MALFORMED,
                    "a prompt's score is missing or unexpected under its terms",
                )
            place = read_place(first)
            engine = f"{self.engine}{_ON}{place}" if place else ""
            pieces = read_pieces(responses, asked.sampling.max_tokens)
            yield StartedAnswer(ids, score, pieces, engine)


class RemoteGeneratorEngine:
    """A `VersionLoader` for language models, which run in a generator's process."""

    def __init__(self, remote: RemoteEngine) -> None:
        self._remote = remote

    @property
    def behind(self) -> bool:
        return self._remote.behind

    def show(self, snapshot: UntrustedSnapshot, source: Source) -> None:
        """See `RemoteEngine.show`."""
        self._remote.show(snapshot, source)

    def load(
        self, cleared: VerifiedPointer, source: FileSource, loaded: ServableVersion | None
    ) -> ServableVersion:
        """See `VersionLoader`. Raises: ENGINE_UNAVAILABLE; why the process does not follow;
        FILE_MISSING, FILE_SURPLUS, VERSION_ALTERED, DOCUMENT_MALFORMED.
        """
        self._remote.check_follows(cleared.pointer, cleared.pointer_digest)
        if isinstance(loaded, RemoteGenerator) and loaded.is_of(cleared):
            return loaded
        return RemoteGenerator(self._remote, cleared, read_terms(cleared, source))

    def probe(self) -> None:
        """See `RemoteEngine.probe`."""
        self._remote.probe()

    def counts(self) -> list[Envelope]:
        """See `EnginePool.counts`."""
        return [] if self.behind else [self._remote.counts()]

    def close(self) -> None:
        self._remote.close()


def read_terms(cleared: VerifiedPointer, source: FileSource) -> GeneratorTerms:
    """A generator's terms, from verified bytes, once its files are found to be one's.

    Raises: ENGINE_UNSUITABLE for another kind of version, FILE_MISSING, FILE_SURPLUS,
    VERSION_ALTERED, DOCUMENT_MALFORMED.
    """
    manifest = cleared.manifest
    if not is_generator(manifest):
        raise SealgateError(Reason.ENGINE_UNSUITABLE, "it is no language model")
    check_paths(entry.path for entry in manifest.files)
    terms = GeneratorTerms.decode(read_file(manifest.entry(TERMS), source))
    if terms.name != cleared.pointer.model:
        raise SealgateError(Reason.VERSION_ALTERED, "its terms are another model's")
    return terms


def read_pieces(responses: Iterator[oip.ModelInferResponse], most: int) -> Iterator[AnswerPart]:
    """Until the last one. Raises: ANSWER_MALFORMED where that does not come, or not within `most`
    tokens, each in a piece of its own.
    """
    size = 0
    for number, response in enumerate(responses, 1):
        piece = read_part(response)
        size += len(piece.text)
        if number > most or len(piece.ids) != 1 or size > _BYTES * most:
            raise SealgateError(
                Reason.ANSWER_MALFORMED, "the answer has more tokens than requested"
            )
        yield piece
        if piece.finish:
            return
    raise SealgateError(Reason.ANSWER_MALFORMED, "a stream ends without its last response")
