"""A log in memory that grows, and can be made to fork or shrink: what witnesses are there for."""

from sealgate.trust.keys import Signer
from sealgate.trust.transparency import Checkpoint, merkle, note, sign_checkpoint
from sealgate.trust.transparency.tiles import Frontier, consistency_proof
from tests.support.builders.documents.people import ANSWER_LOG, key
from tests.support.fakes.tile_store import TileStore


class GrowingLog:
    """Has what `gateway.cosigning.updates.Log` asks for."""

    def __init__(
        self, *leaves: str, origin: str = ANSWER_LOG, signer: Signer | str = "answer-log"
    ) -> None:
        self._signer = key(signer) if isinstance(signer, str) else signer
        self.origin = origin
        self.vkey = note.vkey(origin, self._signer.public)
        self._store = TileStore()
        self._frontier = Frontier.empty()
        self.grow(*leaves)

    @property
    def size(self) -> int:
        return self._frontier.size

    def grow(self, *leaves: str) -> None:
        if leaves:
            self._frontier = self._frontier.append([merkle.leaf_hash(x.encode()) for x in leaves])
            self._store.put(self._frontier.tiles)

    def checkpoint(self) -> str:
        state = Checkpoint(self.origin, self._frontier.size, self._frontier.root)
        return sign_checkpoint(state, self._signer)

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        return tuple(consistency_proof(self._store, old, new))
