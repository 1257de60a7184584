"""`sealgate model show` and `inventory`: one version, and every model by risk, owner and review."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from sealgate.cli.context import connected, governance_of, policy_history, profile
from sealgate.cli.model.proposals import show_evidence
from sealgate.cli.output import json_option, show_fields, show_rows, warn_unscreened
from sealgate.printable import printable
from sealgate.promotion.reviews import DUE, OVERDUE, InventoryItem
from sealgate.promotion.reviews import inventory as listed
from sealgate.reasons import Reason, SealgateError
from sealgate.signed_version import DETECTOR, SignedVersion, open_attached
from sealgate.trust import canonical, fields
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.receipts.answer_entry import NONE
from sealgate.trust.statements import Evidence, Manifest
from sealgate.trust.times import format_time
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2 import Version
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

_COLUMNS = ("model", "tier", "owner", "alias", "version", "since", "review_by", "review")


@click.command(epilog="\b\nExample:\n  sealgate model show digits 1")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, version: int, as_json: bool) -> None:
    """Show one version: its digest, files and evidence."""
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        registry = governance_of(person, channel).registry
        request = messages.GetVersionRequest(name=f"models/{name}/versions/{version}")
        found = registry.GetVersion(request).version
        policies = policy_history(person, channel)
        screening = screening_facts(found, policies, registry)
        attached = open_attached(found.attached, found.digest, policies)
    about = {
        "version": found.name,
        "digest": found.digest,
        "publisher": found.publisher,
        "registered": found.create_time,
        "watermark_entry": found.watermark_entry,
        "revoked": found.revocation_reason or "no",
        **screening,
    }
    files = [
        {"file": f.path, "bytes": f.size, "digest": f.digest}
        for f in Manifest.decode(found.manifest).files
    ]
    items = [Evidence.decode(Envelope.decode(item).payload) for item in found.evidence]
    items += attached
    if as_json:
        evidence = [{"kind": e.kind, "maker": e.maker, "body": e.body} for e in items]
        show_fields({**about, "files": files, "evidence": evidence}, as_json)
        return
    show_fields(about, as_json)
    warn_unscreened(screening.get("screening"))
    show_rows(files, ("file", "bytes", "digest"), as_json)
    rows = [{"evidence": e.kind, "maker": e.maker, "created": e.created} for e in items]
    show_rows(rows, ("evidence", "maker", "created"), as_json)
    for item in items:
        click.echo()
        show_evidence(item)


def screening_facts(
    version: Version, policies: Sequence[Policy], registry: RegistryServiceStub
) -> dict[str, Any]:
    """Whether the bound on false alarms holds; of how many clean rows it is, with which confidence,
    and which share of such rows is found adversarial, or at least suspect: at most, and on average.

    A version without a detector has no such numbers, one without screening no bound. Raises
    SealgateError: as `SignedVersion.of` and `file` do, DIGEST_MISMATCH for another manifest,
    DOCUMENT_MALFORMED.
    """
    withdrawn = version.screening_withdrawn
    facts: dict[str, Any] = {"screening_bound": f"withdrawn {withdrawn}" if withdrawn else "holds"}
    signed = SignedVersion.of(
        version.name, version.manifest, version.signature, version.publisher, policies
    )
    if signed.manifest.digest != version.digest:
        raise SealgateError(Reason.DIGEST_MISMATCH, f"the manifest of {version.name}")
    if not signed.manifest.screened:
        return {"screening": NONE}
    if DETECTOR in {file.path for file in signed.manifest.files}:
        detector = fields.mapping(canonical.decode(signed.file(registry, DETECTOR)))
        facts |= _told(fields.mapping(detector.get("calibration")))
    return facts


def _told(calibration: dict[str, Any]) -> dict[str, Any]:
    rows, limits = len(fields.items(calibration.get("scores"))), {}
    for verdict in ("adversarial", "suspect"):
        limit = fields.mapping(calibration.get(verdict))
        limits[f"{verdict}_bound"] = limit.get("bound")
        # Of exchangeable rows, as many score above the rank's.
        limits[f"{verdict}_average"] = round(fields.integer(limit.get("rank")) / (rows + 1), 4)
    return {"calibrated_on": rows, "confidence": calibration.get("confidence"), **limits}


@click.command(
    epilog="\b\nExamples:\n  sealgate model inventory\n  sealgate model inventory --due\n"
    "  sealgate model inventory --csv > models.csv"
)
@click.option("--due", is_flag=True, help="Only what is due for review, or overdue.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV for a spreadsheet.")
@json_option
@click.pass_context
def inventory(ctx: click.Context, due: bool, as_csv: bool, as_json: bool) -> None:
    """List every model: its risk tier, its owner, what is live, and when to review that.

    The policy's section `review` says for how many days approvals count, by risk tier, and who owns
    a model. A version is due 30 days before its approvals end. The exit status is 1 if one is
    overdue.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policies = policy_history(person, channel)
        found = list(listed(RegistryServiceStub(channel), policies, datetime.now(UTC)))
    rows = [_row(item) for item in found if not due or item.review in (DUE, OVERDUE)]
    if as_csv:
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: printable(value) for name, value in row.items()} for row in rows)
        click.echo(text.getvalue(), nl=False)
    else:
        show_rows(rows, _COLUMNS, as_json)
    if any(item.review == OVERDUE for item in found):
        ctx.exit(1)


def _row(item: InventoryItem) -> dict[str, object]:
    return {
        "model": item.model,
        "tier": item.tier or "none",
        "owner": item.owner,
        "alias": item.alias,
        "version": item.version or "",
        "since": item.since,
        "review_by": format_time(item.review_end) if item.review_end else "",
        "review": item.review,
    }
