"""`sealgate watermark prove`, `settle` and `attest`, and `sealgate audit watermark`.

These commands show a watermark to others: to an arbiter, an approver or an auditor.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import grpc
import numpy as np
import numpy.typing as npt

from inference.engine import version_contents
from inference.llm.terms import WEIGHTS, is_generator
from publishing.cli.options import NEW_FILE
from publishing.evidence.signing import WATERMARK_CHECK, sign_evidence
from publishing.serialization import parse_model
from publishing.watermark import (
    MARK_THRESHOLD,
    FetchCopy,
    MarkedCopy,
    MarkRecord,
    OwnershipClaim,
    OwnershipProof,
    TensorFile,
    kept_marks,
    key_path,
    load_watermark_key,
    read_carriers,
    read_code,
    settle,
    watermark_folder,
    weights_of,
)
from sealgate.cli.context import connected, policy_history, profile
from sealgate.cli.options import EXISTING_FILE
from sealgate.cli.output import ask_secret, json_option, show_fields, show_rows
from sealgate.private_keys import named_key, open_signer
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import Profile
from sealgate.signed_version import SignedVersion
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import write_private_file
from sealgate.trust.statements import Evidence, open_statement
from sealgate.trust.transparency import TlogProof, origin_of
from sealgate.v1 import log_pb2 as logs
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.log_pb2_grpc import LogServiceStub
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

Floats = npt.NDArray[np.float32]


def fetcher(person: Profile, channel: grpc.Channel) -> FetchCopy:
    """Fetches a version's marked weights by its digest; None for what was never registered."""

    def fetch(record: MarkRecord) -> MarkedCopy | None:
        model = record.mark.key.model
        registry = RegistryServiceStub(channel)
        asked = messages.ListVersionsRequest(
            model=model, filter=f'digest = "{record.version_digest}"'
        )
        found = registry.ListVersions(asked).versions
        if not found:
            return None
        version = int(found[0].name.rpartition("/")[2])
        signed = _signed(person, channel, model, version)
        if is_generator(signed.manifest):
            by_name = _tensors_of(signed, registry)
        else:
            data = signed.file(registry, version_contents.FP32)
            by_name = {each.name: each.values for each in read_carriers(parse_model(data))}
        values = [by_name.pop(slot.name) for slot in record.slots]
        return MarkedCopy(values, tuple(by_name.values()))

    return fetch


def _tensors_of(signed: SignedVersion, registry: RegistryServiceStub) -> dict[str, Floats]:
    """All matrices of a language model's files, by name."""
    found: dict[str, Floats] = {}
    for entry in signed.manifest.files:
        if WEIGHTS.fullmatch(entry.path):
            data = np.frombuffer(signed.file(registry, entry.path), np.uint8)
            tensors = TensorFile.parse(data)
            found |= {name: tensors.floating(name) for name in tensors.floats()}
    return found


def fp32_of(
    person: Profile, channel: grpc.Channel, model: str, version: int
) -> tuple[SignedVersion, bytes]:
    """The signed version with its marked float32 model. Raises SealgateError like
    `SignedVersion`.
    """
    signed = _signed(person, channel, model, version)
    return signed, signed.file(RegistryServiceStub(channel), version_contents.FP32)


def _signed(person: Profile, channel: grpc.Channel, model: str, version: int) -> SignedVersion:
    registry = RegistryServiceStub(channel)
    return SignedVersion.fetch(registry, policy_history(person, channel), model, version)


def record_of(person: Profile, model: str, digest: str) -> MarkRecord:
    """The mark of a version. Raises SealgateError(COMMITMENT_UNKNOWN), and as `load_mark`."""
    folder = watermark_folder(person)
    key = load_watermark_key(key_path(folder, model))
    found = next((r for r in kept_marks(folder, key) if r.version_digest == digest), None)
    if found is None:
        raise SealgateError(Reason.COMMITMENT_UNKNOWN, f"this profile keeps no mark of {digest}")
    return found


def log_proof(
    person: Profile, channel: grpc.Channel, record: MarkRecord
) -> tuple[bytes, TlogProof]:
    """The entry that holds a mark's commitment, and the proof that the registry's log holds it.

    Entries are the auditor's to read, but whoever committed gets theirs by committing again.
    Raises SealgateError(LOG_INCONSISTENT) where it is not the entry of then.
    """
    asked = messages.CommitWatermarkRequest(
        model=record.mark.key.model, commitment=record.mark.commitment
    )
    committed = RegistryServiceStub(channel).CommitWatermark(asked)
    if committed.entry != record.entry:
        raise SealgateError(Reason.LOG_INCONSISTENT, f"the log has lost entry {record.entry}")
    log = LogServiceStub(channel)
    origin = origin_of(policy_history(person, channel)[-1].registry_log)
    note = log.GetCheckpoint(logs.GetCheckpointRequest(origin=origin)).note
    size = int(note.split("\n")[1])
    wanted = logs.GetInclusionProofRequest(origin=origin, index=record.entry, size=size)
    hashes = tuple(log.GetInclusionProof(wanted).hashes)
    return committed.leaf, TlogProof(record.entry, hashes, note)


@click.command(epilog="\b\nExample:\n  sealgate watermark prove digits 1 --out proof.json")
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@click.option("--out", required=True, type=NEW_FILE, help="The proof, a new file.")
@json_option
@click.pass_context
def prove(ctx: click.Context, model: str, version: int, out: Path, as_json: bool) -> None:
    """Open the key of the mark of MODEL VERSION to an arbiter, with its proof from the log.

    A reader of the proof can remove the marks of this model's key: show it to an arbiter alone.
    """
    person = profile(ctx, "publisher")
    with connected(person) as channel:
        signed = SignedVersion.fetch(
            RegistryServiceStub(channel), policy_history(person, channel), model, version
        )
        record = record_of(person, model, signed.manifest.digest)
        entry, proof = log_proof(person, channel, record)
    made = OwnershipProof.of(record, entry, proof)
    write_private_file(out, made.encode())
    told = {"proof": str(out), "commitment": record.mark.commitment, "entry": record.entry}
    show_fields({**told, "unmarked": record.mark.unmarked}, as_json)


@click.command(
    "settle",
    epilog="\b\nExample:\n  sealgate watermark settle found.onnx --claim proof.json serving.onnx "
    "--claim theirs.json theirs.onnx",
)
@click.argument("file", type=EXISTING_FILE)
@click.option(
    "--claim",
    "claims",
    multiple=True,
    required=True,
    type=(EXISTING_FILE, EXISTING_FILE),
    help="A proof, and the file that was not marked yet.",
)
@json_option
@click.pass_context
def settle_claims(
    ctx: click.Context, file: Path, claims: Sequence[tuple[Path, Path]], as_json: bool
) -> None:
    """Decide, as an arbiter, whose FILE is, by the log of the policy that your root keys sign."""
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policy = policy_history(person, channel)[-1]
        vkey = policy.log_key(origin_of(policy.registry_log))
    weights = weights_of(file.name, file.read_bytes())
    shown = [
        OwnershipClaim(
            OwnershipProof.decode(proof.read_bytes()), original.name, original.read_bytes()
        )
        for proof, original in claims
    ]
    rows = [
        {
            "claim": str(proof),
            "found": "holds" if finding.step == 0 else f"falls at step {finding.step}",
            "why": finding.why,
            "entry": finding.entry,
            "time": finding.time,
            "z": round(finding.z, 2),
        }
        for (proof, _), finding in zip(claims, settle(weights, shown, vkey), strict=True)
    ]
    show_rows(rows, ("claim", "found", "why", "entry", "time", "z"), as_json)
    if all(row["found"] != "holds" for row in rows):
        ctx.exit(1)


@click.command(epilog="\b\nExample:\n  sealgate watermark attest digits 1 --out check.json")
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@click.option("--out", required=True, type=NEW_FILE, help="The signed statement, a new file.")
@json_option
@click.pass_context
def attest(ctx: click.Context, model: str, version: int, out: Path, as_json: bool) -> None:
    """Read the mark of MODEL VERSION in the registry's files again, and sign what was read.

    An auditor who asks for it checks it with `sealgate audit watermark`.
    """
    person = profile(ctx, "publisher")
    with connected(person) as channel:
        registry = RegistryServiceStub(channel)
        policies = policy_history(person, channel)
        signed = SignedVersion.fetch(registry, policies, model, version)
        record = record_of(person, model, signed.manifest.digest)
        read = {
            form: read_code(
                weights_of(path, signed.file(registry, path)), record.code, record.slots
            )
            for form, path in (("fp32", version_contents.FP32), ("int8", version_contents.INT8))
        }
    body = {
        "commitment": record.mark.commitment,
        "commitment_entry": record.entry,
        "threshold": MARK_THRESHOLD,
        **{
            form: {"z": found.z, "log10_bound": found.log10_bound, "bit_errors": found.bit_errors}
            for form, found in read.items()
        },
    }
    signer = open_signer(named_key(person.signing_key), ask_secret)
    now = datetime.now(UTC)
    (envelope,) = sign_evidence(
        {WATERMARK_CHECK: body}, signed.manifest.digest, person.name, signer, now
    )
    write_private_file(out, envelope.encode())
    told = {"statement": str(out), "digest": signed.manifest.digest}
    show_fields({**told, **{f"z_{form}": round(f.z, 2) for form, f in read.items()}}, as_json)


@click.command(
    "watermark", epilog="\b\nExample:\n  sealgate audit watermark check.json --model digits 1"
)
@click.argument("statement", type=EXISTING_FILE)
@click.argument("version", type=click.IntRange(1))
@click.option("--model", required=True, help="Whose version it is.")
@json_option
@click.pass_context
def audit_watermark(
    ctx: click.Context, statement: Path, version: int, model: str, as_json: bool
) -> None:
    """Check a STATEMENT of `sealgate watermark attest`: who signed it, and for which version."""
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policies = policy_history(person, channel)
        signed = SignedVersion.fetch(RegistryServiceStub(channel), policies, model, version)
    envelope = Envelope.decode(statement.read_bytes())
    item = open_statement(envelope, Evidence, policies[-1], ("publisher", "evidence"))
    if (item.kind, item.version_digest) != (WATERMARK_CHECK, signed.manifest.digest):
        raise SealgateError(
            Reason.EVIDENCE_MISMATCH, f"it is of {item.kind}, {item.version_digest}"
        )
    show_fields(
        {
            "digest": item.version_digest,
            "signed_by": item.maker,
            "created": item.created,
            "commitment": item.body["commitment"],
            "z_fp32": round(item.body["fp32"]["z"], 2),
            "z_int8": round(item.body["int8"]["z"], 2),
        },
        as_json,
    )
