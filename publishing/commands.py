"""`sealgate model publish`: the whole publishing chain, from a trained model's folder to a version
in the registry.
"""

import secrets
from datetime import UTC, datetime
from pathlib import Path

import click
import grpc

from publishing.chain import BuiltVersion, Signers, build_version
from publishing.data import Dataset
from publishing.source import SourceFolder
from publishing.watermark.key import SECRET_BYTES, WatermarkKey, save_watermark_key
from sealgate.cli.output import json_option, show_fields
from sealgate.cli.people import connected, profile
from sealgate.governance import Governance
from sealgate.reasons import Reason, Refusal
from sealgate.remote import Profile, reason_of
from sealgate.trust.keys import PrivateKey, load_private_key
from sealgate.v1 import registry_pb2 as messages

_SEED = 0


class RegistryCommitments:
    """Commits watermark keys to the registry's log, making the model where it is new."""

    def __init__(self, governance: Governance) -> None:
        self._registry = governance.registry

    def commit(self, model: str, commitment: str) -> int:
        """The index of the entry that holds the commitment."""
        try:
            self._registry.CreateModel(messages.CreateModelRequest(model=model))
        except grpc.RpcError as error:
            if reason_of(error) is not Reason.MODEL_EXISTS:
                raise
        request = messages.CommitWatermarkRequest(model=model, commitment=commitment)
        return int(self._registry.CommitWatermark(request).entry)


@click.command(
    epilog="""
\b
Example:
  sealgate model publish demo/models/digits-1 --data demo/data/digits.safetensors
"""
)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The fit, calibration and test slices, as safetensors.",
)
@json_option
@click.pass_context
def publish(ctx: click.Context, folder: Path, data: Path, as_json: bool) -> None:
    """Mark, quantize, calibrate, sign and register a trained model.

    FOLDER holds model.json, serving.onnx and response.onnx. The watermark's key stays with the
    publisher: without it, the mark cannot be read.
    """
    person = profile(ctx, "publisher")
    source = SourceFolder.read(folder)
    dataset = Dataset.read(data)
    key = WatermarkKey(source.config.name, secrets.token_bytes(SECRET_BYTES))
    with connected(person) as channel:
        governance = Governance(channel, person, lambda: datetime.now(UTC))
        built = build_version(
            source,
            dataset,
            key,
            signers=_signers(person),
            commitments=RegistryCommitments(governance),
            clock=lambda: datetime.now(UTC),
            seed=_SEED,
            progress=lambda step, detail: click.echo(f"{step:<12} {detail}", err=True),
        )
        # Kept before the release: a mark whose key is lost proves nothing.
        _keep(person, key)
        header = messages.UploadVersionRequest.Header(
            model=built.model,
            manifest=built.manifest.encode(),
            signature=built.signature,
            evidence=[envelope.encode() for envelope in built.evidence],
            commitment=built.commitment,
        )
        version = governance.upload(header, built.files)
    show_fields(_summary(version, built), as_json)


def _signers(person: Profile) -> Signers:
    return Signers(
        maker=person.name,
        files=_key(person.model_signing_key, "model_signing_key"),
        evidence=_key(person.signing_key, "signing_key"),
    )


def _key(path: Path | None, setting: str) -> PrivateKey:
    if path is None:
        raise Refusal(Reason.KEY_UNREADABLE, f"the profile names no {setting}")
    return load_private_key(path)


def _keep(person: Profile, key: WatermarkKey) -> None:
    if person.watermark_keys is None:
        raise Refusal(Reason.KEY_UNREADABLE, "the profile names no watermark_keys")
    person.watermark_keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{key.model}-{key.commitment.removeprefix('sha256:')[:16]}.json"
    save_watermark_key(person.watermark_keys / name, key)


def _summary(version: messages.Version, built: BuiltVersion) -> dict[str, object]:
    report = built.report
    return {
        "model": built.model,
        "version": int(version.name.rpartition("/")[2]),
        "digest": version.digest,
        "watermark_entry": built.commitment_entry,
        "watermark_z_fp32": round(report.watermark_fp32.z, 2),
        "watermark_z_int8": round(report.watermark_int8.z, 2),
        "accuracy_source": round(report.accuracy_source, 4),
        "accuracy_int8": round(report.accuracy_int8, 4),
    }
