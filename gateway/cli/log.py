"""`sealgate log prune` and `sealgate log begin`.

Old answers are pruned to their hashes, beside a gateway at work. Another answer log is begun where
the old one is lost for good.
"""

import getpass
import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import click

from gateway.cli.restore import check_stopped
from gateway.cli.serve import config_option, read_config
from gateway.config.document import GatewayConfig
from gateway.config.opening import open_artifacts, open_log_key, opening
from gateway.cosigning import CosignatureStore
from gateway.recording import LogMemory
from registry.answers import closed_between, prune_leaves
from registry.audit import Prunings, file_of
from registry.log.reader import LogReader
from registry.log.rows import ANSWERS
from registry.policy import PinnedRoot, PolicyBook
from registry.registry import Registry
from registry.state.unit_of_work import Ledger
from registry.storage.database import Database
from sealgate.cli.context import further_command
from sealgate.cli.options import EXISTING_FILE
from sealgate.cli.output import json_option, show_fields
from sealgate.cli.policy.change import show_signing_steps, successor_of, write_draft
from sealgate.files import replace_file
from sealgate.private_keys import open_log_signer
from sealgate.reasons import Reason, SealgateError
from sealgate.steady_clock import now
from sealgate.trust.keys import PrivateKey, load_public_key, save_private_key
from sealgate.trust.policy import Policy
from sealgate.trust.times import format_time, parse_time
from sealgate.trust.transparency import log_vkey, note, origin_of
from sealgate.trust.transparency.tiles import WIDTH

# A gateway at work renews its freshness statement more often.
_QUIET = timedelta(days=1)
_NOT_ALL = 3
"""The exit status where another answer log has entries to prune."""
_LINE = re.compile(r"(?m)^(origin|log_key|next_log_key|ml_dsa_key|database) *=.*\n")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SECTION = re.compile(r"(?ms)^\[answers\]\n(.*?)(?=^\[|\Z)")


@click.command(
    epilog="""
\b
Examples:
  sealgate log prune --dry-run                        all that need not be kept any more
  sealgate log prune --before 2026-01-01T00:00:00Z
  sealgate log prune --before 1000000                 the entries before that one
"""
)
@click.option("--before", help="A time (RFC 3339, UTC), or an entry; default: as far as allowed.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option(
    "--trust-clock",
    is_flag=True,
    help="Go on although the newest entry or cosignature is more than a day from this clock.",
)
@config_option
@json_option
@click.pass_context
def prune(
    ctx: click.Context,
    before: str | None,
    dry_run: bool,
    trust_clock: bool,
    config: Path | None,
    as_json: bool,
) -> None:
    """Remove old entries of this gateway's answer log, and what they commit to; keep their hashes.

    The gateway may run meanwhile. Every checkpoint and every proof stays valid. The registry's log
    first records what is pruned, in the name of operator:USER, the account that runs this. Entries
    younger than `[answers] retention_days` (184) are refused; the anchors in the registry's log
    show the minimum age of an entry. A clock that is set ahead would make young entries old: where
    the registry's newest entry, or a witness's newest cosignature, is more than a day from this
    machine's clock, check the clock, and confirm it with --trust-clock. Entries go in tiles of 256.
    Other answer logs that have entries old enough are listed as left, with the exit status 3: run
    this on their gateways.
    """
    now = datetime.now(UTC)
    settings = read_config(ctx, config)
    with opening("[registry] database", settings.registry.database):
        registry = Database.open(settings.registry.database, "registry")
    with closing(registry), opening("[answers] database", settings.answers.database):
        answers = Database.open(settings.answers.database, "answers")
        with closing(answers):
            values = _prune(settings, registry, answers, before, now, dry_run, trust_clock)
    show_fields(values, as_json)
    if isinstance(values["left"], list):
        ctx.exit(_NOT_ALL)


def _prune(
    settings: GatewayConfig,
    registry: Database,
    answers: Database,
    before: str | None,
    now: datetime,
    dry_run: bool,
    trust_clock: bool,
) -> dict[str, object]:
    signer = open_log_key(settings.registry)
    ledger = Ledger.join(registry, settings.registry.origin, signer, lambda: now)
    prunings = Prunings(ledger, f"operator:{getpass.getuser()}")
    if not trust_clock:
        _check_clock(settings, now, prunings.newest())
    key = open_log_key(settings.answers)
    log = LogReader(answers, ANSWERS, lambda: log_vkey(settings.answers.origin, key))
    # The newest tile stays: by it the log knows how long it is.
    newest = max(0, log.size() - 1) // WIDTH * WIDTH
    cutoff = now - timedelta(days=settings.answers.retention_days)
    size = min(newest, prunings.prunable(log.origin, cutoff))
    if before is not None:
        size = min(newest, _wanted(prunings, log.origin, before, cutoff, size))
    first = log.first()
    if not dry_run and size:
        prunings.add(log.origin, size, cutoff, partial(closed_between, answers))
        prune_leaves(answers, size)
    policy = _policy(settings, registry)
    others = {origin_of(vkey) for vkey in policy.answer_logs} - {log.origin}
    left = [origin for origin in sorted(others) if prunings.left(origin, cutoff)]
    return {
        "log": log.origin,
        "left": left or "nothing in other answer logs of the policy",
        "pruned": not dry_run,
        "entries": max(0, size - first),
        "first": max(size, first),
        "kept_since": format_time(cutoff),
    }


def _check_clock(settings: GatewayConfig, now: datetime, newest: datetime) -> None:
    """Raises click.ClickException where gateways last wrote, or a witness last cosigned, at quite
    another time than now: the gateways may have believed a wrong clock, and a witness has its own.
    """
    told = {"the registry's newest entry is of": newest}
    if settings.witnesses:
        witnesses = [each.witness for each in settings.witnesses]
        cosigned = CosignatureStore.open(settings.trust.seen, witnesses).last_time()
        if cosigned is None:
            raise click.ClickException(
                "no witness has cosigned yet, so nobody else tells the time: start the gateway, or "
                "confirm this machine's clock with --trust-clock"
            )
        told["a witness last cosigned at"] = cosigned
    for what, when in told.items():
        if abs(now - when) > _QUIET:
            raise click.ClickException(
                f"this machine's clock says {format_time(now)}, and {what} {format_time(when)}: "
                "set the clock, or confirm it with --trust-clock"
            )


def _policy(settings: GatewayConfig, registry: Database) -> Policy:
    """The newest policy, from the pinned root keys."""
    trust = settings.trust
    keys = [load_public_key(path) for path in trust.root_keys]
    book = PolicyBook(PinnedRoot({key.keyid: key for key in keys}, trust.threshold))
    with registry.reading() as connection:
        return book.read(connection).newest


def _wanted(prunings: Prunings, origin: str, before: str, cutoff: datetime, allowed: int) -> int:
    """The size that `--before` asks for. Raises SealgateError(RETENTION_HOLDS) for what is
    younger.
    """
    if before.isascii() and before.isdecimal():
        size = int(before) // WIDTH * WIDTH
        if size > allowed:
            raise SealgateError(
                Reason.RETENTION_HOLDS, f"{allowed} entries are known to be old enough"
            )
        return size
    time = parse_time(before)
    if time > cutoff:
        raise SealgateError(Reason.RETENTION_HOLDS, f"kept since {format_time(cutoff)}")
    return prunings.prunable(origin, time)


@click.command(
    "begin",
    epilog="""
\b
Examples:
  sealgate log begin bank.example/answers-2                   a key, a configuration and a draft
  sealgate log begin --policy policy-3.signed.json            once the roots have signed the draft
""",
)
@click.argument("origin", required=False)
@click.option(
    "--policy",
    "signed",
    type=EXISTING_FILE,
    help="Accept this signed policy in the registry's database, while no gateway runs.",
)
@config_option
@click.pass_context
def begin(ctx: click.Context, origin: str | None, signed: Path | None, config: Path | None) -> None:
    """Begin another answer log, with the name ORIGIN, where this gateway's is lost for good.

    A new key and a new database are named in `[answers]` of the configuration, and the next policy
    is drafted, which names both logs: receipts of the old one go on verifying. After the roots have
    signed it, --policy accepts it; then the gateway starts. Auditors still see the entries that, by
    the old log and its anchors, are missing.
    """
    if (origin is None) == (signed is None):
        raise click.UsageError("name the new log's ORIGIN, or a policy with --policy")
    path = config or Path(ctx.find_root().obj["state"]) / "gateway.toml"
    settings = read_config(ctx, config)
    check_stopped(settings)
    with _registry(settings) as registry:
        if signed is not None:
            name = f"operator:{getpass.getuser()}"
            accepted = registry.policies.accept(name, signed.read_bytes())
            serve = further_command("serve")
            click.echo(f"version {accepted.version} is in force; next: {serve}")
            return
        _prepare(path, settings, registry.policies.chain().newest, str(origin))


@contextmanager
def _registry(settings: GatewayConfig) -> Iterator[Registry]:
    """The registry, checked against this gateway's memory. Raises: ConfigError, SealgateError."""
    stored, trust = settings.registry, settings.trust
    signer = open_log_key(stored)
    memory = LogMemory.beside(trust.seen, "registry", log_vkey(stored.origin, signer))
    keys = [load_public_key(each) for each in trust.root_keys]
    with opening("[registry] database", stored.database):
        database = Database.open(stored.database, "registry")
    try:
        yield Registry.open(
            database,
            open_artifacts(stored),
            origin=stored.origin,
            log_signer=signer,
            freshness_signer=open_log_signer(
                stored.freshness_key, following=stored.next_freshness_key
            ),
            root=PinnedRoot({key.keyid: key for key in keys}, trust.threshold),
            clock=now,
            memory=memory,
        )
    finally:
        memory.close()
        database.close()


def _name(folder: Path, settings: GatewayConfig, current: Policy, origin: str) -> str:
    """The name of the new log's files. Raises click.ClickException where it cannot be begun."""
    note.check_name(origin)
    if origin in map(origin_of, (current.registry_log, *current.answer_logs)):
        raise click.ClickException(f"the policy names {origin} already: choose a new name")
    if file_of(settings.answers.database) is None:
        raise click.ClickException(
            "on PostgreSQL, name a new database, origin and log_key in [answers] yourself, and add "
            "its line (`sealgate key show --origin`) to logs.answers of the next policy"
        )
    name = origin.rpartition("/")[2]
    if not _NAME.fullmatch(name):
        raise click.ClickException(f"{name!r} names no file: choose a name that ends otherwise")
    for taken in (folder / f"{name}.db", folder / "keys" / f"{name}.key"):
        # Such as the registry's database.
        if taken.exists():
            raise click.ClickException(f"{taken} is there already: choose another name")
    return name


def _prepare(path: Path, settings: GatewayConfig, current: Policy, origin: str) -> None:
    folder = path.parent
    name = _name(folder, settings, current, origin)
    text = path.read_text()
    changed = _with_log(text, origin, name)
    (folder / "keys").mkdir(mode=0o700, exist_ok=True)
    made = PrivateKey.generate()
    save_private_key(folder / "keys" / f"{name}.key", made, None)
    left = max(timedelta(days=1), parse_time(current.expires) - datetime.now(UTC))
    document = successor_of(current, datetime.now(UTC), left)
    document["logs"]["answers"].append(note.vkey(origin, made.public))
    draft = Path(f"policy-{document['version']}.json")
    write_draft(draft, document)
    replace_file(path.with_name(f"{path.name}.before"), text.encode())
    replace_file(path, changed.encode())
    click.echo(f"{path} names the new log; what it said before is in {path.name}.before")
    click.echo(f"{draft} names it beside the old one. Next, in this order:")
    signed = show_signing_steps(draft, current.root.threshold)
    for words in (f"log begin --policy {signed}", "serve"):
        click.echo(f"  {further_command(words)}")


def _with_log(text: str, origin: str, name: str) -> str:
    """The configuration with another answer log. Raises click.ClickException for another form."""
    section = _SECTION.search(text)
    if section is None:
        raise click.ClickException("the configuration has no section [answers] of its own lines")
    kept = _LINE.sub("", section[1])
    quoted = json.dumps(origin, ensure_ascii=False)
    lines = f'database = "{name}.db"\norigin = {quoted}\nlog_key = "keys/{name}.key"\n'
    return text[: section.start(1)] + lines + kept + text[section.end(1) :]
