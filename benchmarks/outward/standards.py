"""Checks by standards of others: COSE and SCITT vectors, OCSF's schema, a regulator's file."""

import itertools
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.report import Row, Target
from gateway.auth.method_rules import RULES
from gateway.security_events.kinds import EventKind, SecurityEvent
from gateway.security_events.ocsf import CountedEvent, ocsf
from sealgate.audit.reader import AuditReader
from sealgate.dossier import check_files, template_names
from tests.support.harness.gateway import GatewayHarness, running
from tests.support.oracles.cose_vectors import cose_vectors, signed_vectors
from tests.support.oracles.ocsf_schema import errors

_REASONS = ("", "ROLE_TOO_LOW")
_PEOPLE, _MODELS, _ADDRESSES = ("", "client"), ("", "digits"), ("", "192.0.2.7", "2001:db8::1")
_SECONDS = 5.0


def vectors() -> list[Row]:
    """Return the shares of vectors that are judged as their authors say, and of altered ones."""
    known = cose_vectors()
    good = [vector for vector in known if not vector.reason]
    bad = [vector for vector in known if vector.reason]
    altered = [vector.verdict(data) for vector in signed_vectors() for data in vector.mutations()]
    return [
        _row("vectors of others accepted", [not vector.verdict() for vector in good]),
        _row(
            "bad or unsupported vectors of others refused",
            [vector.verdict() == vector.reason for vector in bad],
        ),
        _row("vectors with a flipped bit refused", [bool(verdict) for verdict in altered]),
    ]


def _row(what: str, well: list[bool]) -> Row:
    share = 100.0 * sum(well) / len(well)
    return {"what": what, "percent": share, "of": len(well)}


def vector_targets(rows: list[Row]) -> list[Target]:
    return [Target(f"{row['what']}, %", row["percent"], 100.0, least=True) for row in rows]


def siem() -> list[Row]:
    """Every kind of security event by every method, with and without each field, judged by OCSF's
    schema.
    """
    wrong = judged = 0
    for kind, method in itertools.product(EventKind, RULES):
        for reason, person, model, address in itertools.product(
            _REASONS, _PEOPLE, _MODELS, _ADDRESSES
        ):
            event = SecurityEvent(kind, reason, "", person, method, model, address=address)
            counted = CountedEvent(event, 3, 1.7e9, 1.7e9 + 7)
            wrong += bool(errors(ocsf(counted, "0.2.0")))
            judged += 1
    return [{"what": "security events", "judged": judged, "errors": wrong}]


def siem_targets(rows: list[Row]) -> list[Target]:
    """No event that the schema refuses."""
    return [Target("OCSF schema errors", rows[0]["errors"], 0)]


def dossier() -> list[Row]:
    """A file of each template for the demo's model, written and checked by the command line, with
    every citation looked up in the log.
    """
    with (
        TemporaryDirectory() as folder,
        running(Path(folder) / "state", "digits-standard", "digits-hardened") as harness,
    ):
        harness.promote("digits", 1)
        harness.promote("digits", 2)
        return [_written(harness, Path(folder), name) for name in template_names()]


def dossier_targets(rows: list[Row]) -> list[Target]:
    """In time, and with no citation that proves nothing."""
    return [
        Target(
            "dossier of the demo's model, slowest, s", max(r["seconds"] for r in rows), _SECONDS
        ),
        Target("citations that are not verified", sum(row["unverified"] for row in rows), 0),
    ]


def _written(harness: GatewayHarness, folder: Path, name: str) -> Row:
    key = harness.state / "people" / "admin" / "signing.key"
    place = folder / name
    words = ("audit", "dossier", "digits", str(place), "--template", name, "--key", str(key))
    began = time.monotonic()
    _run(harness, *words)
    seconds = time.monotonic() - began
    _run(harness, "audit", "check-dossier", str(place))
    policies = (harness.governance("auditor").policy(),)
    reader = AuditReader(harness.channel("auditor"), policies[-1], lambda: datetime.now(UTC))
    entries = {entry.index: entry for entry in reader.records()}
    found, _ = check_files(place, policies)
    cited = [each for claim in found.claims for each in claim.citations]
    unverified = sum(
        each.entry not in entries
        or bool(each.document and each.document not in entries[each.entry].documents)
        for each in cited
    )
    covered = sum(claim.is_covered for claim in found.claims)
    return {
        "template": name,
        "seconds": seconds,
        "lines": len(found.claims),
        "with_proof": covered,
        "citations": len(cited),
        "unverified": unverified,
    }


def _run(harness: GatewayHarness, *words: str) -> None:
    result = harness.command("--as", "auditor", *words)
    if result.exit_code:
        raise RuntimeError(result.output)
