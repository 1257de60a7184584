"""`sealgate restore`: puts a backup in place, unless the record has been seen to go further."""

import json
import secrets
import shlex
import socket
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gateway.cli.backup import (
    ARTIFACTS,
    DATABASES,
    MANIFEST,
    SUBJECTS,
    TIMESTAMPS,
    TYPE,
    progress_bar,
)
from gateway.cli.backup import sqlite_files as configured_files
from gateway.cli.serve import config_option, read_config
from gateway.config.document import GatewayConfig
from gateway.cosigning import CosignatureStore
from gateway.recording import ErasedKeys, GatewayStore
from gateway.timestamps import TimestampStore
from registry.answers import SubjectKeys
from registry.audit import destroyed_keys_in
from registry.log.reader import LogReader
from registry.storage import copies
from sealgate.cli.options import EXISTING_FILE, EXISTING_FOLDER
from sealgate.cli.output import json_option, show_fields
from sealgate.client.consistency import ClientMemory, ClientMemoryFile
from sealgate.reasons import Reason, SealgateError
from sealgate.steady_clock import now
from sealgate.trust import fields
from sealgate.trust.transparency import Checkpoint, merkle, open_checkpoint

_FIELDS = ("release", "time", "databases", "logs", "artifacts")
_LISTENS_SECONDS = 2.0
_NEXT = (
    "sealgate doctor, then sealgate serve; then delete the kept databases: an erasure does not "
    "reach the keys of subjects in them"
)


@click.command(
    epilog="""
\b
Examples:
  sealgate restore /srv/backups/2026-11-29
  sealgate restore /srv/backups/monday --subjects /srv/subjects/monday
  sealgate restore /srv/backups/monday --known witness.json   what a client remembers
"""
)
@click.argument("folder", type=EXISTING_FOLDER)
@click.option(
    "--subjects",
    type=EXISTING_FOLDER,
    help="The folder with the database of subjects, if it was backed up apart.",
)
@click.option(
    "--known",
    multiple=True,
    type=EXISTING_FILE,
    help="A file in which a client or an auditor remembers checkpoints; may be repeated.",
)
@config_option
@json_option
@click.pass_context
def restore(
    ctx: click.Context,
    folder: Path,
    subjects: Path | None,
    known: tuple[Path, ...],
    config: Path | None,
    as_json: bool,
) -> None:
    """Replace this stopped gateway's databases by the backup in FOLDER.

    The files must be those of the backup; their logs must verify, and extend everything that this
    gateway's memory, its witnesses and --known have seen. An older state is refused, and the output
    says how to go on. Keys that an erasure has destroyed since the backup are destroyed again. The
    databases that were there are kept beside the new ones, under another name.
    """
    settings = read_config(ctx, config)
    targets = configured_files(settings, _restore_command)
    check_stopped(settings)
    manifest = read_manifest(folder)
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    staged = {name: path.with_name(f".{path.name}.restoring") for name, path in targets.items()}
    places = {name: (subjects or folder if name == SUBJECTS else folder) for name in DATABASES}
    try:
        with progress_bar(not as_json) as bar:
            _stage(manifest, places, staged)
            artifacts = settings.registry.artifacts
            if isinstance(artifacts, Path) and (folder / ARTIFACTS).is_dir():
                copies.copy_artifacts(folder / ARTIFACTS, artifacts, bar.move)
        kept_here = TimestampStore.of(settings.timestamps, settings.trust.seen)
        TimestampStore(folder / TIMESTAMPS).copy_to(kept_here.folder)
        again = _destroyed_since(settings, targets)
        found = _check(settings, staged, again, _remembered(settings, known))
        kept = _put_in_place(staged, targets, moment)
    finally:
        for path in staged.values():
            _remove(path)
    told = {
        "restored": str(folder),
        "of": manifest["time"],
        **{f"{origin}": f"{size} entries" for origin, size in found.items()},
        "destroyed_keys": len(again),
        "kept": [str(path) for path in kept] or "nothing was there",
        "next": _NEXT,
    }
    show_fields(told, as_json)


def _restore_command(name: str, _schema: str, url: str) -> str:
    """The command that restores a database from the file of `pg_dump`."""
    words = "pg_restore --clean --if-exists --no-owner --single-transaction"
    return f"{words} --dbname={shlex.quote(url)} {name}.dump"


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what `sealgate backup` wrote. Raises SealgateError(DOCUMENT_MALFORMED)."""
    try:
        document = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        detail = f"{folder / MANIFEST} is not a backup's: it is incomplete, or none"
        raise SealgateError(Reason.DOCUMENT_MALFORMED, detail) from error
    found = fields.record(document, _FIELDS, TYPE)
    for name in DATABASES:
        fields.text(fields.mapping(fields.mapping(found["databases"]).get(name)).get("sha256"))
    return found


def check_stopped(settings: GatewayConfig) -> None:
    """Raises click.ClickException while something listens at the gateway's addresses."""
    for address in filter(None, (settings.listen.tls, settings.listen.mutual)):
        host, _, port = address.rpartition(":")
        with suppress(OSError):
            socket.create_connection((host.strip("[]"), int(port)), _LISTENS_SECONDS).close()
            raise click.ClickException(f"a gateway listens at {address}: stop it first")


def _stage(
    manifest: Mapping[str, Any], places: Mapping[str, Path], staged: Mapping[str, Path]
) -> None:
    """Copy the databases beside their places. Raises SealgateError(DIGEST_MISMATCH)."""
    for name, target in staged.items():
        source = places[name] / f"{name}.db"
        if not source.is_file():
            detail = f"there is no {source}; name the folder of the subjects with --subjects"
            raise SealgateError(Reason.DIGEST_MISMATCH, detail)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if copies.copy_file(source, target) != manifest["databases"][name]["sha256"]:
            raise SealgateError(Reason.DIGEST_MISMATCH, f"{source} is not what was backed up")


def _destroyed_since(settings: GatewayConfig, targets: Mapping[str, Path]) -> set[str]:
    """The digests of keys that erasures have destroyed, as far as anything here remembers them."""
    remembered = ErasedKeys.beside(settings.trust.seen).load()
    if targets["registry"].is_file():
        with suppress(SealgateError):
            remembered |= destroyed_keys_in(targets["registry"])
    return remembered


@dataclass(frozen=True, slots=True)
class RememberedCheckpoint:
    """A checkpoint that `who` has seen."""

    who: str
    checkpoint: Checkpoint


def _remembered(settings: GatewayConfig, known: Iterable[Path]) -> list[RememberedCheckpoint]:
    """The checkpoints that witnesses and other people have seen. The gateway's own memory is
    checked when the logs are opened.
    """
    found = []
    witnessed = CosignatureStore.open(
        settings.trust.seen, [each.witness for each in settings.witnesses]
    )
    for origin in (settings.registry.origin, settings.answers.origin):
        for each in settings.witnesses:
            newest = witnessed.newest(origin, each.witness)
            if newest is not None:
                found.append(
                    RememberedCheckpoint(f"the witness {each.witness.name}", newest.checkpoint)
                )
    for path in known:
        for note in ClientMemoryFile(path).load().notes.values():
            found.append(RememberedCheckpoint(str(path), ClientMemory.checkpoint(note)))
    return found


def _check(
    settings: GatewayConfig,
    staged: Mapping[str, Path],
    destroyed: set[str],
    remembered: Iterable[RememberedCheckpoint],
) -> dict[str, int]:
    """Open the staged databases as a gateway does, and return the sizes of their logs.

    Raises SealgateError(LOG_INCONSISTENT) for a state that is older than what was seen, with the
    way forward.
    """
    with closing(SubjectKeys.open(staged[SUBJECTS], destroyed)):
        pass
    config = replace(
        settings,
        registry=replace(settings.registry, database=staged["registry"]),
        answers=replace(settings.answers, database=staged["answers"], subjects=staged[SUBJECTS]),
    )
    try:
        with closing(GatewayStore.open(config, now)) as store:
            logs = store.logs()
            for each in remembered:
                if each.checkpoint.origin in logs:
                    _check_extends(logs[each.checkpoint.origin], each)
            return {origin: log.size() for origin, log in logs.items()}
    except SealgateError as refusal:
        if refusal.reason is not Reason.LOG_INCONSISTENT:
            raise
        reached = refusal.detail.partition(";")[0]
        raise SealgateError(refusal.reason, f"{reached}. {way_forward(settings)}") from refusal


def _check_extends(log: LogReader, seen: RememberedCheckpoint) -> None:
    """Raises SealgateError(LOG_INCONSISTENT)."""
    old, size = seen.checkpoint, log.size()
    detail = f"{log.origin} has {size} entries, and {seen.who} has seen {old.size}"
    if size < old.size:
        raise SealgateError(Reason.LOG_INCONSISTENT, detail)
    try:
        new = open_checkpoint(log.checkpoint(), log.vkey)
        proof = log.consistency(old.size, new.size)
        merkle.verify_consistency(old.size, old.root, new.size, new.root, proof)
    except SealgateError as refusal:
        detail = f"{detail}, which it does not extend"
        raise SealgateError(Reason.LOG_INCONSISTENT, detail) from refusal


def way_forward(settings: GatewayConfig) -> str:
    """The steps for an operator whose backup is older than a checkpoint that was seen."""
    name = f"{settings.answers.origin}-{secrets.token_hex(2)}"
    return (
        "This backup is older than what has been seen, and nothing was changed. In this order: "
        "(1) a newer backup: `sealgate restore NEWER`; "
        "(2) the databases that are there, if `sealgate doctor` finds them sound: `sealgate "
        "serve`; "
        "(3) if the answer log alone is lost for good, restore a registry that is new enough and "
        f"begin another answer log: `sealgate log begin {name}`; "
        "(4) if the registry is lost for good, begin a new one: docs/how-to/restore.md"
    )


def _put_in_place(
    staged: Mapping[str, Path], targets: Mapping[str, Path], moment: str
) -> list[Path]:
    kept: list[Path] = []
    for name, target in targets.items():
        kept += copies.set_aside(target, f"before-{moment}")
        staged[name].replace(target)
    return kept


def _remove(path: Path) -> None:
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
