"""Replaces the key of a log or of freshness as people do it, and tells which key signs."""

from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys import PublicKey
from sealgate.trust.transparency import note, open_checkpoint
from tests.support.harness.gateway import GatewayHarness
from tests.support.harness.policy_changes import document
from tests.support.harness.rollouts import await_true


def run(harness: GatewayHarness, *words: str, code: int = 0) -> str:
    result = harness.command(*words)
    assert result.exit_code == code, result.output
    return result.output


def rotate(harness: GatewayHarness, what: str, *options: str) -> None:
    """A draft, two signatures, an acceptance; the working folder takes the files."""
    version = document(harness)["version"]
    told = run(harness, "key", "rotate", what, *options)
    assert f" policy accept policy-{version}.signed.json" in told
    run(harness, "policy", "fetch")
    for file, number in ((f"policy-{version}.json", 2), (f"policy-{version}.signed.json", 3)):
        key = str(harness.state / "roots" / f"root-{number}.key")
        run(harness, "policy", "sign", file, "--yes", "--key", key)
    run(harness, "policy", "accept", f"policy-{version}.signed.json")


def finish(harness: GatewayHarness, what: str, *options: str) -> str:
    """Put the next key in the place of the present one, once an anchor tells of the hand-over."""
    told: list[str] = []

    def is_done() -> bool:
        result = harness.command("key", "rotate", what, *options, "--finish")
        told.append(result.output)
        assert result.exit_code == 0 or Reason.ENTRY_UNANCHORED.name in result.output, told
        return result.exit_code == 0

    await_true(is_done)
    return told[-1]


def is_signed(harness: GatewayHarness, log: str, key: PublicKey, beside: str = "") -> bool:
    """Whether a log's newest checkpoint is signed by a key, and by the ML-DSA key of this line."""
    origin = f"house.localhost/{log}"
    try:
        line = f"{note.vkey(origin, key)} {beside}".strip()
        open_checkpoint(harness.gateway.store.logs()[origin].checkpoint(), line)
    except SealgateError:
        return False
    return True
