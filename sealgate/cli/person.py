"""`sealgate person`: adds, lists, renews and removes people of an installation."""

import json
import ssl
import tomllib
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from sealgate.cli.context import further_command, newest, profile, read_chain, state_folder
from sealgate.cli.key import new_passphrase, passphrase_option
from sealgate.cli.options import EXISTING_FILE, FILE, policy_option
from sealgate.cli.output import HelpfulGroup, ask_secret, json_option, show_fields, show_rows
from sealgate.cli.policy.change import accept_here, read, successor_document
from sealgate.files import replace_file
from sealgate.private_keys import passphrase_of
from sealgate.promotion import drafts as drafts
from sealgate.setup.credentials import ISSUER, CertificateAuthority
from sealgate.setup.people import (
    AUTHORITY,
    AUTHORITY_CERTIFICATE,
    CERTIFICATE_LIFETIME,
    ENROL,
    ROLES,
    InstalledPerson,
    PersonFolder,
    kept_passkey,
    write_link,
)
from sealgate.trust import canonical, fields
from sealgate.trust.fields import check_name
from sealgate.trust.keys import PublicKey, read_private_file
from sealgate.trust.keys.certificate_identity import certificate_validity
from sealgate.trust.keys.webauthn import Passkey
from sealgate.trust.times import format_time

_SHARED = ("endpoint", "server_authority", "root_keys", "root_threshold")
_DAYS = 365.0
F = TypeVar("F", bound=Callable[..., Any])


_days_option = click.option(
    "--days",
    type=click.FloatRange(0.01, 30),
    default=7.0,
    show_default=True,
    help="How long an enrolment link works.",
)


def _draft_option(command: F) -> F:
    return click.option(
        "--draft",
        "draft",
        type=FILE,
        default="policy-next.json",
        show_default=True,
        help="The draft of the next policy; where the file exists, the change is added to it.",
    )(command)


@click.group(cls=HelpfulGroup)
def person() -> None:
    """Add people, list them, renew their certificates, remove them.

    A person comes or goes with a new policy. These commands draft it; the roots sign it.
    """


@person.command(
    epilog="\b\nExamples:\n  sealgate person add anna --role approver\n"
    "  sealgate person add bert --role auditor --passkey   prints a link for bert"
)
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(ROLES), help="The person's role.")
@click.option(
    "--passkey",
    "by_passkey",
    is_flag=True,
    help="Make no key and no certificate, but a link: it leads to a page that makes a passkey.",
)
@_days_option
@click.option("--unencrypted-keys", is_flag=True, help="Store the keys without a passphrase.")
@passphrase_option
@_draft_option
@policy_option
@click.pass_context
def add(
    ctx: click.Context,
    name: str,
    role: str,
    by_passkey: bool,
    days: float,
    unencrypted_keys: bool,
    passphrase_file: Path | None,
    draft: Path,
    policies: tuple[Path, ...],
) -> None:
    """Make keys, a certificate and a profile for NAME, and draft the policy that names them."""
    document = _open_draft(ctx, draft, policies)
    found = InstalledPerson(name, role)
    # Refused before anything is written.
    drafts.add_person(deepcopy(document), name, found.roles, f"mtls:{name}")
    keys: list[PublicKey] = []
    if not by_passkey:
        callers = _authority(ctx)
        passphrase = None if unencrypted_keys else new_passphrase(passphrase_file)
        home = PersonFolder(state_folder(ctx) / "people" / name, found, passphrase)
        home.write(_shared_settings(ctx), callers)
        keys = [key.public for key in home.keys]
    known_as = f"jwt:{ISSUER} {name}" if by_passkey else f"mtls:{name}"
    drafts.add_person(document, name, found.roles, known_as, tuple(keys))
    _save_draft(draft, document)
    if by_passkey:
        _show_enrolment(ctx, name, days)
    else:
        click.echo(
            f"Hand people/{name} to its owner, who gives the keys a passphrase of their own."
        )


@person.command(epilog="\b\nExample:\n  sealgate person enrol anna --days 1")
@click.argument("name")
@_days_option
@click.pass_context
def enrol(ctx: click.Context, name: str, days: float) -> None:
    """Print a one-time link by which NAME makes a passkey in their own browser."""
    _show_enrolment(ctx, check_name(name), days)


@person.command(
    epilog="\b\nExamples:\n  sealgate person passkey anna   made through an enrolment link\n"
    "  sealgate person passkey anna anna-passkey.json   the file that the console shows"
)
@click.argument("name")
@click.argument("file", required=False, type=EXISTING_FILE)
@click.option(
    "--accept",
    is_flag=True,
    help="Sign the draft with the root keys in STATE/roots and send it: for trials.",
)
@_draft_option
@policy_option
@click.pass_context
def passkey(
    ctx: click.Context,
    name: str,
    file: Path | None,
    accept: bool,
    draft: Path,
    policies: tuple[Path, ...],
) -> None:
    """Draft the policy that lists NAME's passkey: the one in FILE, or the one made by a link.

    Ask NAME whether the key id is the one that their browser showed.
    """
    document = _open_draft(ctx, draft, policies)
    if file is None:
        file = kept_passkey(_links(ctx)[0], name)
        if not file.exists():
            again = further_command(f"person enrol {name}")
            raise click.ClickException(f"{name} has made no passkey yet: {again}")
    try:
        said = json.loads(file.read_bytes())
    except ValueError as error:
        raise click.ClickException(f"{file} is not JSON: {error}") from None
    # The console shows a passkey under its key id, as a policy lists it.
    if isinstance(said, dict) and len(said) == 1:
        said = next(iter(said.values()))
    found = Passkey.from_json(said)
    drafts.add_passkey(document, name, found)
    _save_draft(draft, document)
    click.echo(f"{found.keyid} signs for {name} at {', '.join(found.origins)}")
    if accept:
        click.echo(f"policy {accept_here(ctx, draft).version} is in force")


@person.command(epilog="\b\nExample:\n  sealgate person remove anna")
@click.argument("name")
@_draft_option
@policy_option
@click.pass_context
def remove(ctx: click.Context, name: str, draft: Path, policies: tuple[Path, ...]) -> None:
    """Draft the policy without NAME.

    The keys stay listed, so that what the person signed stays valid. If a key was stolen, withdraw
    it too.
    """
    document = _open_draft(ctx, draft, policies)
    drafts.remove_person(document, name)
    _save_draft(draft, document)


@person.command(
    epilog="\b\nExamples:\n  sealgate person renew anna\n  sealgate person renew anna bert"
)
@click.argument("names", nargs=-1, required=True)
@json_option
@click.pass_context
def renew(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Issue a new certificate for each of NAMES, who keep their keys.

    The policy stays as it is, and an expired certificate can be renewed too.
    """
    callers = _authority(ctx)
    for name in names:
        home = state_folder(ctx) / "people" / check_name(name)
        key, path = read_private_file(home / "tls.key"), home / "tls.pem"
        replace_file(path, callers.reissue(path.read_bytes(), key))
        show_fields({"renewed": name, "until": _certificate_end(ctx, name)}, as_json)


@person.command("list", epilog="\b\nExample:\n  sealgate person list")
@policy_option
@json_option
@click.pass_context
def list_(ctx: click.Context, policies: tuple[Path, ...], as_json: bool) -> None:
    """List who the policy names, and when the certificates kept here expire."""
    policy = newest(read_chain(ctx, policies), profile(ctx, "auditor"))
    rows = [
        {
            "name": known.name,
            "roles": ", ".join(known.roles),
            "keys": sum(keyid in policy.keys for keyid in known.keys),
            "passkeys": sum(keyid in policy.webauthn.keys for keyid in known.keys),
            "known_as": ", ".join(known.identities),
            "certificate_until": _certificate_end(ctx, known.name),
        }
        for known in policy.principals
    ]
    columns = ("name", "roles", "keys", "passkeys", "known_as", "certificate_until")
    show_rows(rows, columns, as_json)


def _open_draft(ctx: click.Context, file: Path, policies: tuple[Path, ...]) -> dict[str, Any]:
    """The draft to add a change to: the file, or else the successor of the policy in force."""
    if not file.exists():
        return successor_document(ctx, _DAYS, policies)
    payload, signed = read(file)
    if signed is not None:
        raise click.ClickException(f"{file} is signed already; name another with --draft")
    return fields.mapping(canonical.decode(payload))


def _save_draft(file: Path, document: dict[str, Any]) -> None:
    """Write a draft that is a policy. Raises SealgateError where it contradicts itself."""
    version = drafts.checked(document).version
    replace_file(file, json.dumps(document, indent=2).encode() + b"\n")
    sign = further_command(f"policy sign {file} --key KEY")
    click.echo(f"{file} is version {version}; have its roots sign it: {sign}")


def _show_enrolment(ctx: click.Context, name: str, days: float) -> None:
    folder, origin = _links(ctx)
    code = write_link(folder, ENROL, name, datetime.now(UTC), timedelta(days=days))
    click.echo(f"Send {name} this link, which works once, for {days:g} days:")
    click.echo(f"{origin}/links/{code}")
    then = further_command(f"person passkey {name}")
    click.echo(f"Once {name} has made a passkey: {then}")


def _links(ctx: click.Context) -> tuple[Path, str]:
    """The folder of the console's links, and where browsers reach it."""
    path = state_folder(ctx) / "console.toml"
    try:
        settings = tomllib.loads(path.read_text())
        return path.parent / settings["links"]["folder"], settings["listen"]["origin"]
    except (OSError, KeyError) as error:
        raise click.ClickException(f"{path} names no [links] folder: {error}") from None


def _authority(ctx: click.Context) -> CertificateAuthority:
    """Raises SealgateError: KEY_UNREADABLE where `init` kept no such key, and more."""
    path = state_folder(ctx) / AUTHORITY
    key = read_private_file(path)
    certificate = (state_folder(ctx) / AUTHORITY_CERTIFICATE).read_bytes()
    passphrase = passphrase_of(path, ask_secret)
    return CertificateAuthority.load(
        certificate, key, passphrase, datetime.now(UTC), CERTIFICATE_LIFETIME
    )


def _shared_settings(ctx: click.Context) -> dict[str, Any]:
    """The settings that all profiles share, from the admin's."""
    path = state_folder(ctx) / "people" / "admin" / "profile.toml"
    settings = tomllib.loads(path.read_text())
    return {name: settings[name] for name in _SHARED}


def _certificate_end(ctx: click.Context, name: str) -> str:
    """When the certificate that is kept here expires; empty where there is none."""
    path = state_folder(ctx) / "people" / name / "tls.pem"
    if not path.exists():
        return ""
    return format_time(certificate_validity(ssl.PEM_cert_to_DER_cert(path.read_text())).end)
