"""`sealgate model publish`: the publishing chain, from a trained model's folder to the registry."""

import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import grpc

from publishing.cli.options import (
    Described,
    description_options,
    mark_options,
    precision_option,
    quantizes,
    trusted_root_option,
    trusted_signers,
    worker_options,
)
from publishing.evidence import recalibration
from publishing.pipeline.build import BuiltVersion, Outbox, PublisherKeys, build_version
from publishing.pipeline.files import DRAWS, LARGEST_LOSS
from publishing.ready.description import ModelDescription, describe_input
from publishing.ready.reading import model_name, read_source
from publishing.source.dataset import Dataset, doubt_of
from publishing.source.folder import SourceFolder
from publishing.watermark import mark_path, new_mark, save_mark, watermark_folder
from registry.sandbox.confinement import Confinement
from sealgate.cli.context import connected, governance_of, profile
from sealgate.cli.options import EXISTING, EXISTING_FILE
from sealgate.cli.output import ask_secret, json_option, show_fields
from sealgate.private_keys import named_key, open_signer
from sealgate.promotion.documents import Governance
from sealgate.reasons import Kind, Reason, SealgateError
from sealgate.remote import Profile, reason_of
from sealgate.remote.calls import send
from sealgate.remote.uploads import PARALLEL, Package, Uploader
from sealgate.trust.canonical import sha256
from sealgate.trust.policy import DEFAULT_ALIAS
from sealgate.v1 import registry_pb2 as messages

_SEED = 0
_PROPOSED = timedelta(days=7)
# After these reasons, publishing the same version again would fail again.
_FINAL = frozenset({Kind.INVALID, Kind.NOT_FOUND, Kind.EXISTS})


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """A publisher's options for a version: how much accuracy its mark may cost, as a share of the
    test slice, whether screening may have a first stage, and whether a model with too few weights
    may go without a mark; what a file is said to be, and whether to quantize what model.json
    describes, None being what it says; whether requests are screened; and the file of the trusted
    root by which a folder's signature is verified.
    """

    largest_loss: float = LARGEST_LOSS
    first_stage: bool = True
    unmarked: bool = False
    description: ModelDescription | None = None
    quantized: bool | None = None
    screened: bool = True
    trusted_root: Path | None = None


class RegistryCommitments:
    """Logs commitments in the registry, and creates the model if it is new."""

    def __init__(self, governance: Governance) -> None:
        self._registry = governance.registry

    def commit(self, model: str, commitment: str) -> int:
        """The index of the entry that holds the commitment."""
        try:
            send(self._registry.CreateModel, messages.CreateModelRequest(model=model))
        except grpc.RpcError as error:
            if reason_of(error) is not Reason.MODEL_EXISTS:
                raise
        request = messages.CommitWatermarkRequest(model=model, commitment=commitment)
        return int(send(self._registry.CommitWatermark, request).entry)


@click.command(
    epilog="""
\b
Example:
  sealgate model publish demo/models/digits-standard --data demo/data/digits.safetensors
"""
)
@click.argument("source", type=EXISTING)
@click.option(
    "--data",
    required=True,
    type=EXISTING_FILE,
    help="The fit, calibration and test slices, as safetensors; or rows x and answers y, which are "
    "then divided; or a table with a header, as .csv, with --target.",
)
@description_options
@worker_options
@precision_option
@mark_options
@trusted_root_option
@click.option(
    "--no-first-stage",
    is_flag=True,
    help="Let the response graph screen every request, even where a cheaper first stage would pay.",
)
@click.option(
    "--without-screening",
    is_flag=True,
    help="Make no response graph and no detector. The policy must exempt the model's risk tier "
    "(section `unscreened`); every receipt then says that nothing was screened.",
)
@click.option(
    "--propose", "proposed", is_flag=True, help="Propose the version for production, for a week."
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 16),
    default=PARALLEL,
    show_default=True,
    help="How many files to upload at once.",
)
@json_option
@click.pass_context
def publish(
    ctx: click.Context,
    source: Path,
    data: Path,
    described: Described,
    bounds: Confinement,
    precision: str | None,
    allow_unmarked: bool,
    watermark_loss: float,
    trusted_root: Path | None,
    no_first_stage: bool,
    without_screening: bool,
    proposed: bool,
    parallel: int,
    as_json: bool,
) -> None:
    """Mark, quantize, calibrate, sign and register a trained model.

    SOURCE is an ONNX file or a model folder of MLflow's or Hugging Face's, described by the options
    and the data; or a folder with model.json, serving.onnx and, unless it is to be made,
    response.onnx. The model's
    watermark key stays with the publisher: without it, no mark can be read. The model runs in a
    worker that has no key, no network and no files of yours. Run again after an interruption, this
    goes on with the version that it had made, from where the upload stands.
    """
    dataset, description = described.read(source, data, precision, bounds)
    options = PublishOptions(
        watermark_loss / 100,
        not no_first_stage,
        allow_unmarked or description is not None,
        description,
        quantizes(precision),
        not without_screening,
        trusted_root,
    )
    made = release(ctx, source, dataset, bounds, options, parallel)
    if proposed:
        person = profile(ctx, "publisher")
        with connected(person) as channel:
            named = made["model"], made["version"], DEFAULT_ALIAS
            made["proposal"] = governance_of(person, channel).propose(*named, _PROPOSED, 0).digest
    show_fields(made, as_json)


def release(
    ctx: click.Context,
    path: Path,
    dataset: Dataset,
    bounds: Confinement,
    options: PublishOptions,
    parallel: int,
    read: SourceFolder | None = None,
) -> dict[str, Any]:
    """Make a version of the model at `path`, register it, and return what came of it. `read` is
    what `read_source` made of it, if that is known.
    """
    person = profile(ctx, "publisher")
    with connected(person) as channel, open_outbox(person, path, dataset, options) as outbox:
        if outbox.is_empty():
            policy = governance_of(person, channel).policy()
            if not options.screened:
                policy.check_screening(model_name(path, options.description), screened=False)
            asked = options.description, bounds, options.quantized, options.screened
            signers = trusted_signers(policy, options.trusted_root)
            source = read or read_source(path, dataset, *asked, signers)
            if options.description is not None:
                _tell("prepare", describe_input(source))
            built, summary = _build(channel, person, source, dataset, bounds, options)
            waiting = outbox.keep(built, summary)
        else:
            waiting = outbox.read()
            _tell("resume", f"{waiting.package.manifest.digest} was made before")
        version = _register(channel, waiting.package, parallel, outbox)
    named = {
        "model": waiting.package.model,
        "version": int(version.name.rpartition("/")[2]),
        "digest": version.digest,
    }
    return {**named, **waiting.summary}


@contextmanager
def open_outbox(
    person: Profile, source: Path, data: Dataset, options: PublishOptions
) -> Iterator[Outbox]:
    """Where the version waits; without a place of the profile's, no longer than this command."""
    if person.outbox is not None:
        yield Outbox(person.outbox, source, data, repr(options))
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Outbox(Path(folder), source, data, repr(options))


def _build(
    channel: grpc.Channel,
    person: Profile,
    source: SourceFolder,
    data: Dataset,
    bounds: Confinement,
    options: PublishOptions,
) -> tuple[BuiltVersion, dict[str, object]]:
    """The version with the first mark that costs no more than it may.

    Raises: WATERMARK_COST where all that were drawn cost more.
    """
    for _ in range(DRAWS - 1):
        try:
            return _build_once(channel, person, source, data, bounds, options)
        except SealgateError as error:
            if error.reason is not Reason.WATERMARK_COST:
                raise
            _tell("mark", f"{error}: another is drawn")
    return _build_once(channel, person, source, data, bounds, options)


def _build_once(
    channel: grpc.Channel,
    person: Profile,
    source: SourceFolder,
    data: Dataset,
    bounds: Confinement,
    options: PublishOptions,
) -> tuple[BuiltVersion, dict[str, object]]:
    folder = watermark_folder(person)
    mark = new_mark(folder, source.config.name, sha256(source.serving), secrets.token_bytes)
    governance = governance_of(person, channel)
    built = build_version(
        source,
        data,
        mark,
        signers=_signers(person),
        commitments=RegistryCommitments(governance),
        clock=lambda: datetime.now(UTC),
        seed=_SEED,
        progress=_tell,
        confinement=bounds,
        largest_loss=options.largest_loss,
        first_stage=options.first_stage,
        unmarked=options.unmarked,
    )
    if doubt := doubt_of(data.test, built.report.measured.accuracies.source):
        _tell("warning", doubt)
    # Kept before the release: a mark that is lost proves nothing.
    if built.mark is not None:
        save_mark(mark_path(folder, mark), built.mark)
    return built, _summary(built)


def _register(
    channel: grpc.Channel, package: Package, parallel: int, outbox: Outbox
) -> messages.Version:
    """Upload and register; what the gateway refuses for good is not tried again next time."""
    total = sum(entry.size for entry in package.manifest.files)
    with click.progressbar(length=total, label="upload", file=sys.stderr) as bar:

        def move(done: int, _: int) -> None:
            bar.update(done - bar.pos)

        try:
            version = Uploader(channel, parallel=parallel, progress=move).publish(package)
        except grpc.RpcError as error:
            reason = reason_of(error)
            if reason is not None and reason.kind in _FINAL:
                outbox.empty()
            raise
    outbox.empty()
    return version


def _tell(step: str, detail: str) -> None:
    click.echo(f"{step:<12} {detail}", err=True)


def _signers(person: Profile) -> PublisherKeys:
    return PublisherKeys(
        maker=person.name,
        files=open_signer(named_key(person.model_signing_key, "model_signing_key"), ask_secret),
        evidence=open_signer(named_key(person.signing_key), ask_secret),
    )


def _summary(built: BuiltVersion) -> dict[str, object]:
    report = built.report
    mark: dict[str, object] = {"watermark_payload": f"none: {report.weights} weights are too few"}
    if report.mark is not None:
        mark = {
            "watermark_payload": "carried" if report.mark.worded else "presence only",
            "watermark_z_fp32": round(report.mark.fp32.z, 2),
            f"watermark_z_{built.arithmetic}": round(report.mark.int8.z, 2),
        }
    return {
        "watermark_entry": built.entry,
        **mark,
        "accuracy_source": round(report.measured.accuracies.source, 4),
        f"accuracy_{built.arithmetic}": round(report.measured.accuracies.int8, 4),
        **recalibration.summary(report.measured.screening),
    }
