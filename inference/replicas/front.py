"""The engine in front of its replicas: checks everything itself, counts, and runs no graph.

Each load is first shown to the replicas, which check it each from the root keys, and then checked
here. A version is followed where a replica follows it and none has anything against it. What is
revoked ends here at once, and replicas are reached through here alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Protocol

import numpy.typing as npt

from inference.admission import Cleared, FileSource
from inference.answer import Answer
from inference.batching import OperatorBounds
from inference.costs import Costs
from inference.live import Ready
from inference.remote.host import Host
from inference.remote.load import Load
from inference.remote.service import write_load
from inference.remote.version import Terms
from inference.replicas.board import Board
from inference.replicas.replica import Address, Refused, heard
from inference.replicas.version import ReplicatedVersion
from inference.standing import Place
from sealgate.reasons import Reason, Refusal


class Fleet(Protocol):
    """Replicas that come and go."""

    def follow(self, number: int) -> list[Refused | None]:
        """What each replica says of what was shown under `number`, of those that say something."""
        ...

    def infer(self, number: int, to: Address, x: npt.NDArray[Any]) -> Answer:
        """See `Replica.infer`. Raises: what a replica refused; ENGINE_UNAVAILABLE, RUN_HUNG."""
        ...

    def costs(self, to: Address) -> Costs:
        """See `Replica.costs`, with the way there and back. Raises: as `infer`."""
        ...

    def close(self) -> None: ...


class Crew:
    """What the replicas were shown, and what they said of it. A `Line`, and a `Loader`."""

    def __init__(self, fleet: Fleet, board: Board, bounds: OperatorBounds, most: int) -> None:
        """`bounds` tighten how versions are batched; there are at most `most` replicas."""
        self._fleet = fleet
        self._board = board
        self._bounds = bounds
        self._most = most
        self._number = 0
        self._newest = 0
        self._numbers: dict[Place, int] = {}
        self._said: dict[Place, tuple[str, Refusal | None]] = {}

    @contextmanager
    def showing(self, load: Load) -> Iterator[None]:
        """Have the replicas follow a load, while this process does in the block.

        Raises: INTERNAL where nothing can be shown; what the block raises: then it is shown to no
        further replica.
        """
        self._newest += 1
        number = self._newest
        try:
            self._board.put(number, write_load(load).SerializeToString())
        except OSError as error:
            raise Refusal(Reason.INTERNAL, f"cannot show replicas anything: {error}") from error
        refusal = _against(self._fleet.follow(number))
        self._said = {**self._said, load.place: (load.digest, refusal)}
        # Whoever resolves the new version is answered by a replica that has read of it.
        before, self._number = self._number, number
        try:
            yield
        except BaseException:
            self._number = before
            self._board.remove(number)
            raise
        replaced = self._numbers.get(load.place)
        self._numbers[load.place] = number
        if replaced is not None:
            self._board.remove(replaced)

    def load(self, cleared: Cleared, source: FileSource, loaded: Ready | None) -> Ready:
        """See `Loader`. Raises: ENGINE_UNAVAILABLE, and what a replica has against it; as
        `Terms.read` does.
        """
        pointer = cleared.pointer
        digest, refusal = self._said.get((pointer.model, pointer.alias), ("", None))
        if digest != cleared.pointer_digest:
            raise Refusal(Reason.ENGINE_UNAVAILABLE, "replicas were not shown this pointer")
        if refusal is not None:
            raise Refusal(refusal.reason, refusal.detail)
        if loaded is not None:
            return loaded
        terms = Terms.read(cleared.manifest, source)
        signed = terms.config
        config = replace(signed, batching=self._bounds.tighten(signed.name, signed.batching))
        to = Address(pointer.model, pointer.version, pointer.digest)
        return ReplicatedVersion(self, to, config, terms.detector, self._most)

    def infer(self, to: Address, x: npt.NDArray[Any]) -> Answer:
        """See `Line`."""
        return self._fleet.infer(self._number, to, x)

    def costs(self, to: Address) -> Costs:
        """See `Line`."""
        return self._fleet.costs(to)

    def close(self) -> None:
        self._fleet.close()


class Front(Host):
    """A `Host` whose versions run in replicas."""

    def __init__(self, crew: Crew, *parts: Any) -> None:
        """`parts` are a `Host`'s; its engine's loader is `crew`."""
        super().__init__(*parts)
        self._crew = crew

    def close(self, timeout: float) -> bool:
        """See `Engine.close`; the replicas end afterwards."""
        drained = super().close(timeout)
        self._crew.close()
        return drained

    def _showing(self, load: Load) -> AbstractContextManager[None]:
        return self._crew.showing(load)


def _against(said: Sequence[Refused | None]) -> Refusal | None:
    """Why a load is not followed by replicas that said this; None where it is."""
    try:
        for each in said:
            heard(each)
    except Refusal as refusal:
        return refusal
    return None if said else Refusal(Reason.ENGINE_UNAVAILABLE, "no replica answers")
