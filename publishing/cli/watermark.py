"""`sealgate watermark`: marks files, and finds out whose a file is and who was given it.

The keys never leave the publisher's machine; the gateway is asked only for commitments, proofs and
files.
"""

import secrets
from pathlib import Path

import click

from publishing.cli.options import NEW_FILE
from publishing.cli.publish import RegistryCommitments
from publishing.cli.watermark_proofs import attest, fetcher, fp32_of, prove, settle_claims
from publishing.watermark import (
    PAYLOAD_CAPACITY,
    CopyRecord,
    IdentifiedMark,
    MarkRecord,
    colluders_named,
    find_mark,
    key_path,
    load_watermark_key,
    mark_file,
    mark_integers,
    mark_model,
    mark_path,
    new_mark,
    read_code,
    save_copy,
    save_mark,
    spread_copy,
    spread_mark,
    watermark_folder,
    weights_of,
)
from registry.formats.format_check import PARENT
from sealgate.cli.context import connected, governance_of, profile
from sealgate.cli.options import EXISTING_FILE
from sealgate.cli.output import HelpfulGroup, json_option, show_fields
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import write_private_file


@click.group(cls=HelpfulGroup)
def watermark() -> None:
    """Find out whose a file is, mark files, and prove it."""


for command in (prove, settle_claims, attest):
    watermark.add_command(command)


@watermark.command(
    epilog="\b\nExamples:\n  sealgate watermark verify found.onnx\n"
    "  sealgate watermark verify found.safetensors --blind"
)
@click.argument("file", type=EXISTING_FILE)
@click.option("--blind", is_flag=True, help="Read the file alone; do not ask the registry.")
@json_option
@click.pass_context
def verify(ctx: click.Context, file: Path, blind: bool, as_json: bool) -> None:
    """Read every mark of ours in FILE, ONNX or safetensors: which version, given to whom.

    If the file alone shows no mark, its neurons are aligned to those of each registered version,
    and it is read again; the output says so. The exit status is 1 if no mark is found.
    """
    person = profile(ctx, "publisher")
    weights = weights_of(file.name, file.read_bytes())
    folder = watermark_folder(person)
    if blind:
        found = find_mark(weights, folder, None)
    else:
        with connected(person) as channel:
            found = find_mark(weights, folder, fetcher(person, channel))
    show_fields(_told(found), as_json)
    if found is None or not found.detection.found:
        ctx.exit(1)


@watermark.command(
    epilog="\b\nExamples:\n  sealgate watermark embed model.safetensors marked.safetensors "
    "--model digits\n  sealgate watermark embed int8.onnx marked.onnx --model digits --integers"
)
@click.argument("source", type=EXISTING_FILE)
@click.argument("target", type=NEW_FILE)
@click.option("--model", required=True, help="The model whose key marks the file.")
@click.option("--integers", is_flag=True, help="Only an INT8 ONNX file is there: move it by steps.")
@json_option
@click.pass_context
def embed(
    ctx: click.Context, source: Path, target: Path, model: str, integers: bool, as_json: bool
) -> None:
    """Mark the weights of SOURCE, fp32 ONNX or safetensors, as the new file TARGET.

    The mark is committed to in the registry's log first. `sealgate model publish` marks by itself,
    and measures what it costs; here, measure it.
    """
    person = profile(ctx, "publisher")
    folder = watermark_folder(person)
    mark = new_mark(folder, model, sha256(source.read_bytes()), secrets.token_bytes)
    with connected(person) as channel:
        governance = governance_of(person, channel)
        entry = RegistryCommitments(governance).commit(model, mark.commitment)
    if integers:
        data, found = mark_integers(source.read_bytes(), mark.code(worded=False))
        write_private_file(target, data)
    else:
        found = mark_file(source, target, lambda hosts: spread_mark(hosts, mark), {})
    marked = target.read_bytes()
    worded = found.spreading.code.bits > 0
    record = MarkRecord(mark, worded, entry, sha256(marked), found.slots)
    save_mark(mark_path(folder, mark), record)
    read = read_code(weights_of(target.name, marked), record.code, record.slots)
    told = "carried" if worded else f"presence only: {PAYLOAD_CAPACITY} weights carry a payload"
    show_fields(
        {
            "file": str(target),
            "digest": record.version_digest,
            "commitment": mark.commitment,
            "entry": entry,
            "payload": told,
            "amplitude": round(found.spreading.amplitude, 4),
            "z": round(read.z, 2),
        },
        as_json,
    )


@watermark.command(
    epilog="\b\nExample:\n  sealgate watermark export digits 1 --recipient north --out north.onnx"
)
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@click.option("--recipient", required=True, help="Who gets it: a name like those of principals.")
@click.option("--out", required=True, type=NEW_FILE, help="The copy, a new ONNX file.")
@json_option
@click.pass_context
def export(
    ctx: click.Context, model: str, version: int, recipient: str, out: Path, as_json: bool
) -> None:
    """Copy the float32 MODEL VERSION for one recipient, whose name is marked in its weights.

    The copy names the version that it was made of, and cannot be registered or promoted.
    """
    person = profile(ctx, "publisher")
    folder = watermark_folder(person)
    key = load_watermark_key(key_path(folder, model))
    with connected(person) as channel:
        signed, data = fp32_of(person, channel, model, version)
    parent = signed.manifest.digest
    code = key.recipient(parent, recipient)
    copy, found = mark_model(data, lambda hosts: spread_copy(hosts, code), {PARENT: parent})
    read = read_code(weights_of(out.name, copy), code, found.slots)
    # Saved before it is handed out, or its recipient could not be identified later.
    save_copy(folder, CopyRecord(model, recipient, parent, sha256(copy)))
    write_private_file(out, copy)
    show_fields(
        {
            "file": str(out),
            "digest": sha256(copy),
            "parent": parent,
            "recipient": recipient,
            "amplitude": round(found.spreading.amplitude, 4),
            "z": round(read.z, 2),
            "copies_that_may_be_averaged": colluders_named(read.z),
        },
        as_json,
    )


def _told(found: IdentifiedMark | None) -> dict[str, object]:
    if found is None:
        return {"found": "nothing", "why": "no mark was ever made with this profile"}
    read = found.detection
    if not read.found:
        shapes = "no weight has the shape of one of ours"
        why = shapes if not read.weights else f"the most that was read is z = {read.z:.1f}"
        return {"found": "nothing", "why": why, "marks_tried": found.tried}
    record = found.record
    told: dict[str, object] = {
        "found": "a mark of ours",
        "model": record.mark.key.model,
        "digest": record.version_digest,
        "reading": "blind" if found.blind else "not blind: aligned to the registry's copy",
        "z": round(read.z, 2),
        "log10_bound": round(read.log10_bound, 2),
        "marks_tried": found.tried,
        "weights": read.weights,
        "commitment": record.mark.commitment,
        "entry": record.entry,
    }
    if record.worded:
        told |= {"bit_errors": read.bit_errors, "payload_read": found.payload}
    else:
        told["payload"] = "presence only"
    named = {each.record.recipient: {"z": round(each.detection.z, 2)} for each in found.recipients}
    return {**told, "recipients": named}
