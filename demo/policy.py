"""Changes the policy in force, as an admin and two of its roots would by the command line."""

import json
from collections.abc import Callable
from typing import Any

from demo.stage import Stage

_ROOTS = (1, 2)


def change_policy(stage: Stage, change: Callable[[dict[str, Any]], None]) -> None:
    """Draft the next policy, have `change` edit it, sign it with two root keys, and send it.

    Raises: StepFailed.
    """
    draft = stage.state / "policy-next.json"
    ready = draft.with_name("policy-next.signed.json")
    for earlier in (draft, ready):
        earlier.unlink(missing_ok=True)
    stage.command("policy", "draft", str(draft), person="admin")
    document: dict[str, Any] = json.loads(draft.read_text())
    change(document)
    draft.write_text(json.dumps(document))
    signed = draft
    for root in _ROOTS:
        holder = str(stage.state / "roots" / f"root-{root}.key")
        stage.command("policy", "sign", str(signed), "--key", holder, "--yes", person="admin")
        signed = ready
    stage.command("policy", "accept", str(signed), person="admin")
