"""A pointer with the documents that it rests on, as an engine checks it."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from sealgate.trust import canonical, fields
from sealgate.trust.dsse import Envelope


@dataclass(frozen=True, slots=True)
class PointerBundle:
    """A pointer with all that it rests on: its proposal, the approvals, and what it returns to.

    A rollback has the proposal and approvals of `returned`, which is a promotion's bundle.
    Raises SealgateError(DOCUMENT_MALFORMED).
    """

    TYPE: ClassVar[str] = "sealgate/pointer-bundle/v1"

    pointer: Envelope
    proposal: Envelope
    approvals: tuple[Envelope, ...]
    returned: Self | None = None

    def __post_init__(self) -> None:
        back = self.returned
        if back is None:
            return
        if back.returned or (back.proposal, back.approvals) != (self.proposal, self.approvals):
            raise fields.malformed("a rollback returns to a promotion, and rests on the same")

    @classmethod
    def rollback(cls, pointer: Envelope, returned: Self) -> Self:
        """Make the bundle of a rollback to the promotion `returned`."""
        return cls(pointer, returned.proposal, returned.approvals, returned)

    def encode(self) -> bytes:
        """Return the canonical JSON; a rollback writes what it shares with `returned` once."""
        return canonical.encode(self._to_json())

    def _to_json(self) -> dict[str, Any]:
        if self.returned:
            rest: dict[str, Any] = {"returned": self.returned._to_json()}
        else:
            approvals = [approval.to_json() for approval in self.approvals]
            rest = {"proposal": self.proposal.to_json(), "approvals": approvals}
        return {"type": self.TYPE, "pointer": self.pointer.to_json(), **rest}

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` writes. Raises SealgateError(DOCUMENT_MALFORMED)."""
        return cls._from_json(canonical.decode(data), may_return=True)

    @classmethod
    def _from_json(cls, value: object, may_return: bool) -> Self:
        if may_return and "returned" in fields.mapping(value):
            outer = fields.record(value, ("pointer", "returned"), cls.TYPE)
            returned = cls._from_json(outer["returned"], may_return=False)
            return cls.rollback(Envelope.from_json(outer["pointer"]), returned)
        outer = fields.record(value, ("pointer", "proposal", "approvals"), cls.TYPE)
        return cls(
            Envelope.from_json(outer["pointer"]),
            Envelope.from_json(outer["proposal"]),
            tuple(Envelope.from_json(item) for item in fields.items(outer["approvals"])),
        )
