"""A language model in a process of its own, as the gateway sees it.

The gateway reads its signed terms, so limits and the screening's threshold are the gateway's to
hold; the generator's process measures and generates.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from inference.admission import Cleared, FileSource, Source
from inference.generation import TERMS, Asked, NoClassifier, Terms, check_paths, is_generator
from inference.limits import Counts
from inference.live import Ready
from inference.remote.calls import OnEnd
from inference.remote.prompts import Piece, read_piece, read_prologue, write_asked
from inference.remote.room import EngineRoom
from inference.remote.service import CALLER, DIGEST
from inference.remote.version import SEPARATE
from inference.standing import Snapshot
from inference.statistics import Statistics
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, Refusal
from sealgate.trust.dsse import Envelope


@dataclass(frozen=True, slots=True)
class Begun:
    """An answer that has begun: the prompt's tokens, what screening measured, and the pieces."""

    prompt_ids: tuple[int, ...]
    score: float
    pieces: Iterator[Piece]


class RemoteGenerator(NoClassifier):
    """A `Ready` version that generates, in the process behind a room."""

    def __init__(self, room: EngineRoom, cleared: Cleared, terms: Terms) -> None:
        self._room = room
        self._model, self._number = cleared.pointer.model, cleared.pointer.version
        self._mutex = threading.Lock()
        self._closed = False
        self._requests = self._dropped = 0
        self.digest = cleared.pointer.digest
        self.engine = SEPARATE
        self.statistics = Statistics()
        self.terms = terms

    def is_of(self, cleared: Cleared) -> bool:
        """Whether the process knows it as the version of that pointer."""
        return (self._model, self._number) == (cleared.pointer.model, cleared.pointer.version)

    def counts(self) -> Counts:
        """What was asked from here; a request is a row and a batch of its own."""
        with self._mutex:
            return Counts(self._requests, self._requests, self._requests, self._dropped, 0)

    @contextmanager
    def begin(self, asked: Asked, deadline: float, caller: str, on_end: OnEnd) -> Iterator[Begun]:
        """Have an answer generated; leaving the block frees what it takes there.

        `on_end` is given what ends it from another thread, when nobody listens any more.
        Raises: DRAINING, ENGINE_UNAVAILABLE, DEADLINE_TOO_SHORT, ANSWER_MALFORMED, and what a
        generator may say of a request; so do the pieces.
        """
        self.terms.check(asked.sampling)
        if self._closed:
            raise Refusal(Reason.DRAINING)
        request = oip.ModelInferRequest(model_name=self._model, model_version=str(self._number))
        request.parameters[DIGEST].string_param = self.digest
        request.parameters[CALLER].string_param = caller
        write_asked(request, asked)
        try:
            with self._room.streaming(request, deadline, on_end) as responses:
                first = next(responses, None)
                if first is None:
                    raise Refusal(Reason.ANSWER_MALFORMED, "an empty stream")
                most = asked.sampling.max_tokens
                yield Begun(*read_prologue(first), _pieces(responses, most))
        except Refusal:
            with self._mutex:
                self._dropped += 1
            raise
        with self._mutex:
            self._requests += 1

    def close(self, timeout: float | None = None) -> bool:
        """Refuse new requests. Those on their way are the caller's to wait for."""
        self._closed = True
        return True


class GeneratorRoom:
    """The process that generates: shown what is a language model's, and asked. A `Loader`."""

    def __init__(self, room: EngineRoom) -> None:
        self._room = room

    @property
    def behind(self) -> bool:
        return self._room.behind

    def show(self, snapshot: Snapshot, source: Source) -> None:
        """See `EngineRoom.show`."""
        self._room.show(snapshot, source)

    def load(self, cleared: Cleared, source: FileSource, loaded: Ready | None) -> Ready:
        """See `Loader`. Raises: ENGINE_UNAVAILABLE; why the process does not follow; FILE_MISSING,
        FILE_SURPLUS, VERSION_ALTERED, DOCUMENT_MALFORMED.
        """
        self._room.check_follows(cleared.pointer, cleared.pointer_digest)
        if isinstance(loaded, RemoteGenerator) and loaded.is_of(cleared):
            return loaded
        return RemoteGenerator(self._room, cleared, read_terms(cleared, source))

    def probe(self) -> None:
        """See `EngineRoom.probe`."""
        self._room.probe()

    def counts(self) -> list[Envelope]:
        """See `EngineRooms.counts`."""
        return [] if self.behind else [self._room.counts()]

    def close(self) -> None:
        self._room.close()


def read_terms(cleared: Cleared, source: FileSource) -> Terms:
    """A generator's terms, from verified bytes, once its files are found to be one's.

    Raises: ENGINE_UNSUITABLE for another kind of version, FILE_MISSING, FILE_SURPLUS,
    VERSION_ALTERED, DOCUMENT_MALFORMED.
    """
    manifest = cleared.manifest
    if not is_generator(manifest):
        raise Refusal(Reason.ENGINE_UNSUITABLE, "it is no language model")
    check_paths(entry.path for entry in manifest.files)
    entry = manifest.entry(TERMS)
    data = source.read(entry.digest)
    try:
        entry.check(data)
    except Refusal as refusal:
        raise Refusal(Reason.VERSION_ALTERED, refusal.detail) from refusal
    terms = Terms.decode(data)
    if terms.name != cleared.pointer.model:
        raise Refusal(Reason.VERSION_ALTERED, "its terms are another model's")
    return terms


def _pieces(responses: Iterator[oip.ModelInferResponse], most: int) -> Iterator[Piece]:
    """Until the last one. Raises: ANSWER_MALFORMED where that does not come, or not within `most`
    tokens, each in a piece of its own.
    """
    for number, response in enumerate(responses, 1):
        piece = read_piece(response)
        if number > most or len(piece.ids) != 1:
            raise Refusal(Reason.ANSWER_MALFORMED, "more tokens than were asked for")
        yield piece
        if piece.finish:
            return
    raise Refusal(Reason.ANSWER_MALFORMED, "a stream ends without its last response")
