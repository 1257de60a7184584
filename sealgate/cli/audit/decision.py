"""`sealgate audit decision`: traces an answer back to exact bytes and people."""

import time
from datetime import UTC, datetime
from pathlib import Path

import click

from sealgate.audit.decision import HOLDS, Examination
from sealgate.audit.reader import AuditReader
from sealgate.cli.audit.verify import NOT_ALL_SEEN
from sealgate.cli.context import connected, policy_history, profile
from sealgate.cli.output import json_option, show_rows, warn_unscreened
from sealgate.files import replace_file
from sealgate.pages.decision_page import Case, CaseStep, decision_page
from sealgate.reasons import SealgateError
from sealgate.trust import canonical
from sealgate.trust.policy import Policy
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.times import format_time

_LOOK_SECONDS = 1.0


@click.command(
    epilog="\b\nExamples:\n  sealgate audit decision receipt.json\n"
    "  sealgate audit decision receipt.json --page case-4711.html   for a case file\n"
    "  sealgate audit decision receipt.json --json"
)
@click.argument("receipt", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--wait",
    "patience",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SECONDS",
    help="Seconds to wait for an anchor that covers the entry (see `anchor_every`).",
)
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write one HTML page with every step, its digests and the commands that check it.",
)
@json_option
@click.pass_context
def decision(
    ctx: click.Context, receipt: Path, patience: float, page: Path | None, as_json: bool
) -> None:
    """Trace the answer of RECEIPT back to exact bytes and the people who approved them.

    Each step is verified on this machine, from the pinned root keys. The exit status is 1 if a step
    fails, and 3 if all hold but no anchor covers the entry yet.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policies = policy_history(person, channel)
        reader = AuditReader(channel, policies[-1], lambda: datetime.now(UTC), policies)
        until = time.monotonic() + patience
        while True:
            read = Receipt.decode(receipt.read_bytes())
            findings = list(Examination(read, policies, datetime.now(UTC)).findings(reader))
            if not any(finding.waits for finding in findings) or time.monotonic() >= until:
                break
            time.sleep(_LOOK_SECONDS)
    if page is not None:
        case = _case(read, policies[-1], list(person.pinned_roots()))
        steps = [CaseStep(f.step, f.what, f.found) for f in findings]
        replace_file(page, decision_page(case, steps, HOLDS).encode())
    rows = [{"step": f.step, "what": f.what, "found": f.found} for f in findings]
    show_rows(rows, ("step", "what", "found"), as_json)
    _, screening = read.opened.get("screening", (b"", ""))
    warn_unscreened(screening)
    broken = [finding for finding in findings if finding.found != HOLDS]
    if broken:
        ctx.exit(NOT_ALL_SEEN if all(finding.waits for finding in broken) else 1)


def _case(receipt: Receipt, policy: Policy, roots: list[str]) -> Case:
    """What the page says of the receipt, of which nothing is told that does not verify."""
    data = receipt.encode()
    try:
        verified = verify_receipt(receipt, policy)
    except SealgateError:
        origin, fields = "an unverified receipt", {}
    else:
        origin = verified.checkpoint.origin
        fields = {name: verified.fields[name] for name in receipt.names if name in verified.fields}
    now = format_time(datetime.now(UTC))
    return Case(origin, receipt.proof.index, fields, data, canonical.sha256(data), now, roots)
