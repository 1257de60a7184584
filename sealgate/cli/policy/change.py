"""`sealgate policy fetch`, `draft`, `sign` and `accept`: how a new policy comes into force."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from sealgate.cli.context import (
    connected,
    fetch_chain,
    further_command,
    newest,
    profile,
    read_chain,
    state_folder,
)
from sealgate.cli.options import EXISTING_FILE, FILE, policy_option
from sealgate.cli.output import ask_secret, json_option, show_fields
from sealgate.private_keys import open_signer
from sealgate.promotion.drafts import successor_of
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.calls import send
from sealgate.trust import canonical, dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy, check_next_version, policy_changes
from sealgate.v1.policy_pb2 import AcceptPolicyRequest
from sealgate.v1.policy_pb2_grpc import PolicyServiceStub


@click.command(epilog="\b\nExample:\n  sealgate policy fetch   keeps it in STATE/trust")
@json_option
@click.pass_context
def fetch(ctx: click.Context, as_json: bool) -> None:
    """Store the gateway's chain of policies, verified against the pinned root keys."""
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        found = newest(fetch_chain(ctx, person, channel), person)
    show_fields({"version": found.version, "digest": found.digest}, as_json)


@click.command(
    epilog="""
\b
Examples:
  sealgate policy draft policy-2.json               then edit it
  sealgate policy sign policy-2.json --key root-1.key
"""
)
@click.argument("file", type=FILE)
@click.option(
    "--days",
    type=click.FloatRange(1, 3660),
    default=365.0,
    show_default=True,
    help="For how long the policy is valid.",
)
@policy_option
@click.pass_context
def draft(ctx: click.Context, file: Path, days: float, policies: tuple[Path, ...]) -> None:
    """Write the successor of the policy in force to FILE, for you to edit.

    It has the same content, the next version number, and is valid from now for --days. With
    --policy the gateway is not asked.
    """
    document = successor_document(ctx, days, policies)
    write_draft(file, document)
    click.echo(f"{file} is version {document['version']}: edit it, then have its roots sign it")


def successor_document(
    ctx: click.Context, days: float, policies: tuple[Path, ...]
) -> dict[str, Any]:
    """The policy in force as the next version, valid from now; from the gateway, or `policies`."""
    person = profile(ctx, "admin")
    if policies:
        chain = read_chain(ctx, policies)
    else:
        with connected(person) as channel:
            chain = fetch_chain(ctx, person, channel)
    return successor_of(newest(chain, person), datetime.now(UTC), timedelta(days=days))


def show_signing_steps(draft: Path, holders: int) -> Path:
    """Print the commands by which so many holders of root keys sign; return the signed file."""
    signed = draft.with_suffix(".signed.json")
    first = further_command(f"policy sign {draft} --key KEY")
    click.echo(f"  {first}       the first holder of a root key")
    for _ in range(holders - 1):
        after = further_command(f"policy sign {signed} --key KEY")
        click.echo(f"  {after}      the next one")
    return signed


def write_draft(file: Path, document: dict[str, Any]) -> None:
    """Write a draft to a new file."""
    with file.open("x", encoding="utf-8") as opened:
        opened.write(json.dumps(document, indent=2) + "\n")


@click.command(
    epilog="""
\b
Examples:
  sealgate policy sign policy-2.json --key root-1.key          writes policy-2.signed.json
  sealgate policy sign policy-2.signed.json --key root-2.key   adds a signature
"""
)
@click.argument("file", type=EXISTING_FILE)
@click.option(
    "--key", "key_place", required=True, help="A root's private key: a PEM file or a pkcs11: URI."
)
@click.option("--yes", is_flag=True, help="Sign without asking.")
@policy_option
@click.pass_context
def sign(
    ctx: click.Context, file: Path, key_place: str, yes: bool, policies: tuple[Path, ...]
) -> None:
    """Sign the policy in FILE, a draft or one that others have signed, after showing its changes.

    This needs no gateway. The chain that it follows comes from --policy or from `policy fetch`.
    """
    person = profile(ctx, "auditor")
    current = newest(read_chain(ctx, policies), person)
    payload, signed = read(file)
    successor = Policy.decode(payload)
    check_next_version(current, successor)
    now = datetime.now(UTC)
    successor.check_unexpired(now)
    successor.check_begun(now)
    key = open_signer(key_place, ask_secret)
    keyid = key.public.keyid
    if keyid not in {*current.root.keys, *successor.root.keys}:
        raise SealgateError(Reason.SIGNER_MISMATCH, f"{keyid} is a key of neither root")
    if signed is not None and keyid in _signers(signed):
        raise click.ClickException(f"{keyid} has signed {file} already")
    _show_changes(current, successor)
    if not yes:
        click.confirm(f"Sign version {successor.version} with {keyid}?", abort=True)
    if signed is None:
        envelope = dsse.sign(Policy.PAYLOAD_TYPE, payload, key)
        file = file.with_suffix(".signed.json")
        with file.open("xb") as opened:
            opened.write(envelope.encode())
    else:
        envelope = dsse.add_signature(signed, key)
        file.write_bytes(envelope.encode())
    click.echo(f"{file}: {_missing(current, successor, envelope)}")


@click.command(epilog="\b\nExample:\n  sealgate policy accept policy-2.signed.json")
@click.argument("file", type=EXISTING_FILE)
@json_option
@click.pass_context
def accept(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Send the signed policy in FILE to the gateway, and show what it changes.

    Every gateway of the registry, and its engines, apply it at once.
    """
    data = file.read_bytes()
    current, successor = _hand_in(ctx, data)
    found = [str(change) for change in policy_changes(current, successor)]
    if as_json:
        fields = {"version": successor.version, "digest": successor.digest, "changes": found}
        show_fields(fields, as_json)
        return
    click.echo("\n".join(found))
    click.echo(f"version {successor.version} is in force: {successor.digest}")


def _hand_in(ctx: click.Context, data: bytes) -> tuple[Policy, Policy]:
    """Send a signed policy, unless it is in force; return the one before, and it."""
    successor = Policy.decode(Envelope.decode(data).payload)
    person = profile(ctx, "admin")
    with connected(person) as channel:
        current = newest(fetch_chain(ctx, person, channel), person)
        if current.digest != successor.digest:
            send(PolicyServiceStub(channel).AcceptPolicy, AcceptPolicyRequest(envelope=data))
            fetch_chain(ctx, person, channel)
    return current, successor


def accept_here(ctx: click.Context, file: Path) -> Policy:
    """Sign the draft in FILE with the root keys that `init` left on this machine, and send it.

    Only where nobody has taken them offline yet: for trials. Raises click.ClickException where
    they are gone.
    """
    payload, _ = read(file)
    kept = sorted((state_folder(ctx) / "roots").glob("root-*.key"))
    needed = Policy.decode(payload).root.threshold
    if len(kept) < needed:
        raise click.ClickException(f"{state_folder(ctx) / 'roots'} keeps no {needed} root keys")
    first, *others = (open_signer(str(path), ask_secret) for path in kept[:needed])
    envelope = dsse.sign(Policy.PAYLOAD_TYPE, payload, first)
    for key in others:
        envelope = dsse.add_signature(envelope, key)
    _, successor = _hand_in(ctx, envelope.encode())
    file.unlink()
    return successor


def read(file: Path) -> tuple[bytes, Envelope | None]:
    """A policy's payload, and its envelope if somebody has signed already.

    Raises: click.ClickException for what is no JSON; SealgateError(DOCUMENT_MALFORMED).
    """
    data = file.read_bytes()
    try:
        document = json.loads(data)
    except ValueError as error:
        raise click.ClickException(f"{file} is not JSON: {error}") from None
    if isinstance(document, dict) and "payloadType" in document:
        envelope = Envelope.decode(data)
        return envelope.payload, envelope
    return canonical.encode(document), None


def _signers(envelope: Envelope) -> set[str]:
    return {keyid for keyid, _ in envelope.signatures}


def _show_changes(current: Policy, successor: Policy) -> None:
    click.echo(f"Version {successor.version} changes in version {current.version}:")
    for change in policy_changes(current, successor):
        click.echo(f"  {change}")


def _missing(current: Policy, successor: Policy, envelope: Envelope) -> str:
    """Return whose signatures are still missing. Raises SealgateError(SIGNATURE_INVALID) where
    somebody's does not verify.
    """
    keys = current.root_keys() | successor.root_keys()
    signers = dsse.verify(envelope, Policy.PAYLOAD_TYPE, keys)
    roots = {"the root keys": current}
    if current.root != successor.root:
        roots = {"the present root keys": current, "the new root keys": successor}
    lacking = [
        f"{policy.root.threshold - count} more of {name}"
        for name, policy in roots.items()
        if (count := len(signers & {*policy.root.keys})) < policy.root.threshold
    ]
    return (
        f"lacks signatures by {' and '.join(lacking)}"
        if lacking
        else "signed by enough, to be accepted"
    )
