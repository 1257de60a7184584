"""Bugs that the machine must find: one line of a check is changed, and all who use it get it so.

A bug is a change of source text, so it says itself which check it takes away; one whose text is no
longer there has to be written anew.
"""

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest.mock import patch

from inference.engine import engine, live_table, table_update, trust_state, version_verifier
from registry.promotion import pointers
from sealgate.trust import dsse
from sealgate.trust.statements import covering, verification
from tests.support.oracles.promotion import observed


@dataclass(frozen=True, slots=True)
class Bug:
    """In the source of `module`, `right` becomes `wrong`; `name` is then taken from there by each
    of `users`: modules, or the class whose method it is.
    """

    module: ModuleType
    right: str
    wrong: str
    name: str
    users: tuple[Any, ...]


def _pointer(right: str, wrong: str) -> Bug:
    return Bug(verification, right, wrong, "verify_pointer", (version_verifier, pointers))


BUGS = {
    "approvals are counted instead of people": _pointer(
        "if min(len(people), len(keys)) < needed:", "if len(bundle.approvals) < needed:"
    ),
    "publishers approve their own": _pointer(
        "if approval.approver in (publisher, proposal.proposer):", "if False:"
    ),
    "approvals of other proposals count": _pointer(
        "if approval.proposal != pointer.proposal:", "if False:"
    ),
    "the version need not be the proposed one": _pointer(
        '("model", "alias", "version", "digest", "policy"):\n        if getattr(pointer, name) != '
        "getattr(proposal",
        '("model", "alias", "policy"):\n        if getattr(pointer, name) != getattr(proposal',
    ),
    "a proposal fits anywhere in the history": _pointer(
        "if proposal.predecessor != pointer.sequence - 1:", "if False:"
    ),
    "a rollback's promotion is not checked": _pointer(
        "target = _verify(bundle.returned, policies, current, publisher, now)",
        "target = Pointer.decode(bundle.returned.pointer.payload)",
    ),
    "withdrawn keys count": _pointer(
        "if not current.vouches(keyid, bundle.pointer.payload_digest):", "if False:"
    ),
    "a pointer answers at another place": Bug(
        version_verifier,
        "if (pointer.model, pointer.alias) != place:",
        "if False:",
        "verify_current_pointer",
        (table_update,),
    ),
    "a pointer need not be the newest": Bug(
        version_verifier,
        "if trust.freshness.pointer(*place) != (claimed.sequence, pointer_digest):",
        "if False:",
        "verify_current_pointer",
        (table_update,),
    ),
    "files are not held against the manifest": Bug(
        version_verifier, "manifest.check(files)", "pass", "read_files", (observed,)
    ),
    "sequences are not remembered": Bug(
        trust_state,
        "after = before.then(mark, Reason.SEQUENCE_STALE) if before else mark",
        "after = mark",
        "with_pointer",
        (trust_state.RollbackGuard,),
    ),
    "revocations are not remembered": Bug(
        trust_state,
        "revoked=self.revoked | revoked",
        "revoked=revoked",
        "with_freshness",
        (trust_state.RollbackGuard,),
    ),
    "statements of freshness are not remembered": Bug(
        trust_state,
        "after = self.freshness.then(mark, Reason.POINTER_STALE) if self.freshness else mark",
        "after = mark",
        "with_freshness",
        (trust_state.RollbackGuard,),
    ),
    "an expired statement is fresh": Bug(
        covering, "if now >= expires:", "if False:", "verify_freshness", (trust_state,)
    ),
    "a statement lives as long as it says": Bug(
        covering, "if expires - issued > longest or", "if", "verify_freshness", (trust_state,)
    ),
    "what is no longer covered answers": Bug(
        live_table, "if now >= live.until:", "if False:", "resolve", (live_table.LiveTable,)
    ),
    "a revoked version is loaded": Bug(
        version_verifier,
        "if self.seen.is_revoked(self.pointer.model, self.pointer.digest):",
        "if False:",
        "check_not_revoked",
        (version_verifier.VerifiedPointer,),
    ),
    "a live version stays when it is revoked": Bug(
        table_update, "if p not in ended}", "}", "TableUpdate", (engine,)
    ),
    "a stale pointer is not held against a newer policy": Bug(
        table_update,
        "if live.policy == current:",
        "if same or live.policy == current:",
        "TableUpdate",
        (engine,),
    ),
    "one signature is enough": Bug(
        dsse, "if len(signed) < threshold:", "if False:", "verify", (dsse,)
    ),
}

QUICKLY_FOUND = ("the version need not be the proposed one", "an expired statement is fresh")
"""Those that a few seconds of runs find."""


@contextmanager
def seeded(bug: Bug) -> Iterator[None]:
    """In the block, the code has the bug."""
    source = inspect.getsource(bug.module)
    if source.count(bug.right) != 1:
        raise ValueError(f"{bug.module.__name__} has no one line {bug.right!r}")
    changed = ModuleType(bug.module.__name__)
    code = compile(source.replace(bug.right, bug.wrong), str(bug.module.__file__), "exec")
    exec(code, vars(changed))  # noqa: S102
    with ExitStack() as patches:
        for user in bug.users:
            owner = getattr(changed, user.__name__) if isinstance(user, type) else changed
            patches.enter_context(patch.object(user, bug.name, vars(owner)[bug.name]))
        yield
