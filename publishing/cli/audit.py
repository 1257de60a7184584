"""`sealgate audit derive` and `replay`: re-derive a version's INT8 model, or ask a version again.

They run on the auditor's machine. Files come from the registry and are used after their signature
and digests are verified.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from inference.engine import version_contents
from inference.model.config import ModelConfig
from inference.screening.detector import Detector
from publishing.cli.options import worker_options
from publishing.evidence import signing
from publishing.evidence.signing import read_evidence
from publishing.source.dataset import Dataset
from publishing.worker_tasks import derivation
from publishing.worker_tasks import replay as replaying
from registry.sandbox.confinement import Confinement
from sealgate.cli.context import connected, policy_history, profile
from sealgate.cli.infer import read_rows
from sealgate.cli.options import EXISTING_FILE
from sealgate.cli.output import json_option, show_fields
from sealgate.reasons import Reason, SealgateError
from sealgate.signed_version import SignedVersion
from sealgate.trust.policy import Policy
from sealgate.trust.receipts import Receipt, VerifiedReceipt, verify_by_history
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub


@click.command(
    epilog="""
\b
Examples:
  sealgate audit derive 1 --model digits
  sealgate audit derive 1 --model digits --data digits.safetensors
"""
)
@click.argument("version", type=click.IntRange(1))
@click.option("--model", required=True, help="Whose version it is.")
@click.option(
    "--data",
    type=EXISTING_FILE,
    help="The publisher's data, to record the ranges again; default: those of the INT8 graph.",
)
@worker_options
@json_option
@click.pass_context
def derive(
    ctx: click.Context,
    version: int,
    model: str,
    data: Path | None,
    bounds: Confinement,
    as_json: bool,
) -> None:
    """Quantize the signed float32 model of VERSION again, and compare with the signed INT8 one.

    Every byte must be the same. This needs the publisher's release of onnxruntime.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        registry = RegistryServiceStub(channel)
        policies = policy_history(person, channel)
        signed = SignedVersion.fetch(registry, policies, model, version)
        files = {path: signed.file(registry, path) for path in derivation.FILES}
        digest = _data_digest(registry, signed, policies) if data is not None else ""
    dataset = Dataset.read(data) if data is not None else None
    found = derivation.derive(files, dataset, digest, bounds)
    show_fields(
        {
            "model": model,
            "version": version,
            "digest": signed.manifest.digest,
            "fp32": signed.manifest.entry(version_contents.FP32).digest,
            "int8": found.digest,
            "ranges": found.ranges,
            "found": "the INT8 model follows from the float32 model, byte for byte",
        },
        as_json,
    )


@click.command(
    epilog="""
\b
Examples:
  sealgate audit replay receipt.json --input rows.csv
  sealgate audit replay receipt.json --input rows.npy --answer logits.npy --tolerance 1e-5
"""
)
@click.argument("receipt", type=EXISTING_FILE)
@click.option(
    "--input", "rows", required=True, type=EXISTING_FILE, help="The input rows: .npy or .csv."
)
@click.option(
    "--answer", type=EXISTING_FILE, help="The recorded answer, if it need not match bit for bit."
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    default=0.0,
    help="How far from the answer, relative and absolute, another machine may be.",
)
@worker_options
@json_option
@click.pass_context
def replay(
    ctx: click.Context,
    receipt: Path,
    rows: Path,
    answer: Path | None,
    tolerance: float,
    bounds: Confinement,
    as_json: bool,
) -> None:
    """Ask the version of RECEIPT again, on this machine, and compare answer and verdict.

    The receipt is verified, the version's files are those that were signed, and the input is the
    one that the receipt stands for. The screening score of the worst row is shown too, with the
    largest share of clean rows that score so high.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        registry = RegistryServiceStub(channel)
        policies = policy_history(person, channel)
        verified = _verified(Receipt.decode(receipt.read_bytes()), policies)
        signed, files = _files(registry, policies, verified)
    config = ModelConfig.decode(files[version_contents.MODEL])
    fields = verified.fields
    asked = replaying.check_input(config, read_rows(rows), fields["input"])
    found = replaying.replay(files, asked, bounds)
    given = read_rows(answer) if answer is not None else None
    recorded = fields["verdict"], fields["output"]
    computed = fields.get("arithmetic", "")
    agreed = replaying.compare(found, *recorded, given, tolerance, computed)
    shown = {name: fields[name] for name in ("model", "version", "time", "outcome")}
    calibration = Detector.decode(files[version_contents.DETECTOR]).calibration
    why = {
        "score": repr(found.score),
        "calibrated_on": calibration.rows,
        "clean_rows_that_score_so_high_at_most": calibration.p_value(found.score),
    }
    show_fields({**shown, "digest": signed.manifest.digest, **asdict(agreed), **why}, as_json)


def _verified(receipt: Receipt, policies: Sequence[Policy]) -> VerifiedReceipt:
    """The fields that a receipt opens, of a request that a version ran. Raises: as
    `verify_receipt`; RECEIPT_MISMATCH.
    """
    verified = verify_by_history(receipt, policies)
    needed = ("model", "version", "version_digest", "input", "output", "outcome", "verdict", "time")
    if not set(needed) <= verified.fields.keys() or not verified.fields["verdict"]:
        raise SealgateError(Reason.RECEIPT_MISMATCH, "it is not of a request that a version ran")
    return verified


def _files(
    registry: RegistryServiceStub, policies: Sequence[Policy], verified: VerifiedReceipt
) -> tuple[SignedVersion, dict[str, bytes]]:
    signed = SignedVersion.fetch_answering(registry, policies, verified.fields)
    files = {entry.path: signed.file(registry, entry.path) for entry in signed.manifest.files}
    return signed, files


def _data_digest(
    registry: RegistryServiceStub, signed: SignedVersion, policies: Sequence[Policy]
) -> str:
    """The digest of the data, from the bill of materials that its maker has signed."""
    return _hash_of_data(read_evidence(registry, signed, policies, signing.ML_BOM).body)


def _hash_of_data(bill: dict[str, Any]) -> str:
    data = [item for item in bill["components"] if item["type"] == "data"]
    return "sha256:" + str(data[0]["hashes"][0]["content"])
