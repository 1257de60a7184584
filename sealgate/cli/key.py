"""`sealgate key`: creates signing keys, shows their public parts, and replaces keys of logs."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from sealgate.audit import Auditor
from sealgate.cli.context import (
    connected,
    fetch_chain,
    further_command,
    newest,
    policy_history,
    profile,
    state_folder,
)
from sealgate.cli.options import FILE
from sealgate.cli.output import HelpfulGroup, ask_hidden, ask_secret, json_option, show_fields
from sealgate.cli.policy.change import show_signing_steps, successor_of, write_draft
from sealgate.private_keys import PASSPHRASE_VARIABLE, next_place, open_signer, read_passphrase
from sealgate.trust import canonical
from sealgate.trust.keys import ECDSA_P256, ED25519, PrivateKey, PublicKey, save_private_key
from sealgate.trust.keys.pkcs11_uri import is_key_uri
from sealgate.trust.policy import Policy
from sealgate.trust.times import parse_time
from sealgate.trust.transparency import current_vkey, note, origin_of

_LEAST = timedelta(days=1)
_FILES = {"registry": "registry-log.key", "answers": "answers.key", "freshness": "freshness.key"}
passphrase_option = click.option(
    "--passphrase-file",
    type=FILE,
    envvar=PASSPHRASE_VARIABLE,
    show_envvar=True,
    help="A file with the passphrase, readable only by its owner; default: ask for it.",
)


@click.command(
    epilog="""
\b
Examples:
  sealgate key rotate answers            drafts the policy that names the next key
  sealgate key rotate answers --finish   once every gateway signs with it
"""
)
@click.argument("what", type=click.Choice(sorted(_FILES)))
@click.option(
    "--key",
    "place",
    help="The present key, a file or a pkcs11: URI; default: that of `sealgate init`, STATE/keys.",
)
@click.option(
    "--next",
    "following",
    help="The next key, a file or a pkcs11: URI; default: NAME.next.key beside the present one.",
)
@click.option("--origin", help="The answer log, where the policy names several.")
@click.option("--finish", is_flag=True, help="Put the next key's file in the place of the present.")
@click.pass_context
def rotate(
    ctx: click.Context,
    what: str,
    place: str | None,
    following: str | None,
    origin: str | None,
    finish: bool,
) -> None:
    """Replace the key of the registry's log, of an answer log, or of freshness.

    The next key is the file `NAME.next.key` beside the present one; `sealgate init` makes it, and a
    gateway reads it at start; `next_log_key` and `next_freshness_key` of gateway.toml name another
    file, or a key in a token. The drafted policy names the next key, with the present one among the
    former: both are accepted. Once it is accepted, each gateway goes on under the next key, and
    until that is anchored both sign. --finish then renames the files, and of a log prints the size
    up to which the former key still vouches.
    """
    place = place or str(state_folder(ctx) / "keys" / _FILES[what])
    following = following or str(next_place(place) or "")
    if not following:
        raise click.UsageError("the present key is in a token: name the one that follows by --next")
    if finish:
        _finish(ctx, what, place, following, origin)
        return
    if not is_key_uri(following) and not Path(following).exists():
        save_private_key(Path(following), PrivateKey.generate(), None)
        click.echo(
            f"{following} is new: restart each gateway with it before the policy is accepted"
        )
    present, successor = _public(place), _public(following)
    document = _successor(ctx)
    if what == "freshness":
        _list_freshness(document, present, successor)
    else:
        _name_log(document, what, _log_of(document, what, origin), present, successor)
    Policy.decode(canonical.encode(document))
    draft = Path(f"policy-{document['version']}.json")
    write_draft(draft, document)
    click.echo(f"{draft} names the next key. Next, in this order:")
    signed = show_signing_steps(draft, document["root"]["threshold"])
    for words in (f"policy accept {signed}", f"key rotate {what} --finish"):
        click.echo(f"  {further_command(words)}")


def _public(place: str) -> PublicKey:
    return open_signer(place, ask_secret).public


def _successor(ctx: click.Context) -> dict[str, Any]:
    """The gateway's policy as the next version, which ends when it would have ended."""
    person, now = profile(ctx, "admin"), datetime.now(UTC)
    with connected(person) as channel:
        current = newest(fetch_chain(ctx, person, channel), person)
    return successor_of(current, now, max(_LEAST, parse_time(current.expires) - now))


def _list_freshness(document: dict[str, Any], present: PublicKey, successor: PublicKey) -> None:
    """List the next key beside the present one. A later policy leaves out the present one."""
    for known in document["principals"]:
        if present.keyid in known["keys"]:
            known["keys"] = [*known["keys"], successor.keyid]
            document["keys"][successor.keyid] = successor.pem
            return
    raise click.ClickException(f"the policy knows nobody with the key {present.keyid}")


def _log_of(document: dict[str, Any], what: str, origin: str | None) -> str:
    """The origin of the log whose key is replaced."""
    if what == "registry":
        return origin_of(document["logs"]["registry"])
    origins = [origin_of(vkey) for vkey in document["logs"]["answers"]]
    found = [each for each in origins if origin in (None, each)]
    if len(found) != 1:
        raise click.UsageError(f"name one log with --origin: {', '.join(origins)}")
    return found[0]


def _name_log(
    document: dict[str, Any], what: str, origin: str, present: PublicKey, successor: PublicKey
) -> None:
    before, after = note.vkey(origin, present), note.vkey(origin, successor)
    logs = document["logs"]
    named = [logs["registry"]] if what == "registry" else logs["answers"]
    if before not in named:
        raise click.ClickException(f"the policy names another key of {origin} than this one")
    if what == "registry":
        logs["registry"] = after
    else:
        logs["answers"] = [after if vkey == before else vkey for vkey in named]
    former = document.setdefault("former_logs", {})
    former[origin] = [{"key": before}, *former.get(origin, [])]


def _finish(ctx: click.Context, what: str, place: str, following: str, origin: str | None) -> None:
    """Rename the files, once the policy in force names the next key."""
    present, successor = _public(place), _public(following)
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policies = policy_history(person, channel)
        document = json.loads(policies[-1].encode())
        if what == "freshness":
            holder = policies[-1].holder(successor.keyid)
            if holder is None or "freshness" not in holder.roles:
                raise click.ClickException("the policy in force does not name the next key")
            left = f"statements by the former key {present.keyid} are believed"
            click.echo(f"{left} until a policy leaves it out of {holder.name}'s keys")
        else:
            name = _log_of(document, what, origin)
            named, _, _ = current_vkey(policies[-1].log_key(name)).partition(" ")
            if named != note.vkey(name, successor):
                raise click.ClickException("the policy in force does not name the next key")
            size = Auditor(channel, policies[-1], policies).handed_over(name)
            click.echo(f"the former key vouches for {size} entries: state it in `former_logs`")
    if Path(following) != next_place(place):
        click.echo(f"{following} is the key that signs now. Name it in each gateway.toml, in the")
        click.echo("place of the one before, instead of by `next_log_key` or `next_freshness_key`")
        return
    file = Path(place)
    kept = file.with_name(f"{file.stem}.{present.keyid[:8]}.former.key")
    file.rename(kept)
    Path(following).rename(file)
    click.echo(f"{file} is the key that signs now; the one before is {kept.name}")


def new_passphrase(file: Path | None) -> bytes:
    """Return the passphrase for new keys: from the file, or asked for twice.

    Raises like `read_passphrase` and `ask_hidden`.
    """
    if file is not None:
        return read_passphrase(file)
    # It asks again until both are the same, and not empty.
    return ask_hidden("New passphrase", twice=True).encode()


@click.group("key", cls=HelpfulGroup)
def key() -> None:
    """Create signing keys, show their public parts for the policy, and replace those of logs."""


key.add_command(rotate)


@key.command(
    epilog="\b\nExamples:\n  sealgate key new anna.key\n"
    "  sealgate key new --scheme ecdsa-p256 model-signing.key"
)
@click.argument("file", type=FILE)
@click.option(
    "--scheme",
    type=click.Choice([ED25519, ECDSA_P256]),
    default=ED25519,
    show_default=True,
    help="ed25519 for people and logs, ecdsa-p256 for a publisher's model signatures.",
)
@click.option(
    "--unencrypted", is_flag=True, help="No passphrase: anyone who can read the file can sign."
)
@passphrase_option
@json_option
def new(
    file: Path, scheme: str, unencrypted: bool, passphrase_file: Path | None, as_json: bool
) -> None:
    """Write a new private key to FILE, encrypted with a passphrase."""
    passphrase = None if unencrypted else new_passphrase(passphrase_file)
    made = PrivateKey.generate(scheme)
    save_private_key(file, made, passphrase)
    show_fields({"id": made.public.keyid, "public_key": made.public.pem}, as_json)


@key.command(
    epilog="\b\nExamples:\n  sealgate key show anna.key\n"
    "  sealgate key show 'pkcs11:token=approvals;object=anna'\n"
    "  sealgate key show --origin bank.example/answers-2 answers-2.key"
)
@click.argument("place")
@click.option("--origin", help="Also show the verifier key of a log with this origin.")
@json_option
def show(place: str, origin: str | None, as_json: bool) -> None:
    """Show the id and the public part of the private key at PLACE, a PEM file or a pkcs11: URI."""
    public = open_signer(place, ask_secret).public
    values = {"id": public.keyid, "scheme": public.scheme, "public_key": public.pem}
    if origin:
        values["verifier_key"] = note.vkey(origin, public)
    show_fields(values, as_json)
