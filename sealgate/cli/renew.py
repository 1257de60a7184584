"""`sealgate renew`: renews what ends soon or has ended: certificates, and the policy."""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import grpc
from cryptography import x509

from sealgate.cli.context import connected, fetch_chain, newest, profile, read_chain, state_folder
from sealgate.cli.output import ask_secret, json_option, show_rows
from sealgate.cli.policy.change import successor_of, write_draft
from sealgate.files import replace_file
from sealgate.private_keys import open_signer, passphrase_of
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import Profile
from sealgate.remote.calls import send
from sealgate.setup.configuration import CLIENT, CONSOLE, SERVER
from sealgate.setup.credentials import CertificateAuthority
from sealgate.setup.people import CERTIFICATE_LIFETIME, POLICY_LIFETIME, SERVER_LIFETIME
from sealgate.trust import canonical, dsse
from sealgate.trust.keys import PublicKey, read_private_file
from sealgate.trust.policy import Policy
from sealgate.trust.times import RENEW_BEFORE, format_time, parse_time
from sealgate.v1.policy_pb2 import AcceptPolicyRequest
from sealgate.v1.policy_pb2_grpc import PolicyServiceStub

_GATEWAY = "tls/gateway"
# Each end of the connection between gateway and engine pins the other's file, whoever issued it.
_PINNED = (SERVER, CLIENT)
_AUTHORITIES = ("servers", "callers")
_COLUMNS = ("what", "until", "days_left", "state")
Row = dict[str, Any]
_TAKEN_SECONDS = 10.0
_LOOK_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class KeptCertificate:
    """A certificate at `path`, issued by `authority`, with its key beside it."""

    what: str
    path: Path
    authority: str
    end: datetime

    def ends_within(self, now: datetime, span: timedelta) -> bool:
        """Whether it ends so soon, or has ended."""
        return self.end - now < span

    def renew(self, authority: CertificateAuthority) -> None:
        """Put a new certificate with the same key in its place. Raises as `reissue`."""
        key = read_private_file(self.path.with_suffix(".key"))
        replace_file(self.path, authority.reissue(self.path.read_bytes(), key))


def kept_certificates(state: Path) -> Iterator[KeptCertificate]:
    """The certificates of an installation whose keys are kept with it, expired or not.

    Raises SealgateError(KEY_UNREADABLE) for a file that is no certificate.
    """
    places = [("the gateway", _GATEWAY, "servers"), ("the console", CONSOLE, "callers")]
    places += [(f"{name.rpartition('/')[2]} (pinned)", name, "") for name in _PINNED]
    people = sorted(path.parent.name for path in state.glob("people/*/tls.key"))
    places += [(name, f"people/{name}/tls", "callers") for name in people]
    for what, name, authority in places:
        path = state / f"{name}.pem"
        if path.exists() and path.with_suffix(".key").exists():
            yield KeptCertificate(what, path, authority, _end(path))


def open_authority(
    state: Path, kind: str, now: datetime, passphrase: Callable[[Path], bytes | None]
) -> CertificateAuthority:
    """The authority of a kind; of pinned certificates, any.

    Raises SealgateError(KEY_UNREADABLE).
    """
    lifetime = CERTIFICATE_LIFETIME if kind == "callers" else SERVER_LIFETIME
    if kind not in _AUTHORITIES:
        return CertificateAuthority("engine", now, lifetime)
    path = state / "authorities" / f"{kind}.key"
    key = read_private_file(path)
    certificate = (state / "tls" / f"{kind}.pem").read_bytes()
    return CertificateAuthority.load(certificate, key, passphrase(path), now, lifetime)


def _end(path: Path) -> datetime:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except ValueError as error:
        raise SealgateError(Reason.KEY_UNREADABLE, f"{path} is no certificate") from error


@click.command(
    epilog="""
\b
Examples:
  sealgate renew           everything that ends within 60 days, or has ended
  sealgate renew --check   changes nothing; the exit status is 1 where something is due
  sealgate renew --all     everything, whenever it ends
"""
)
@click.option(
    "--within",
    type=click.IntRange(1, 3650),
    default=RENEW_BEFORE.days,
    show_default=True,
    metavar="DAYS",
    help="Renew what ends within so many days.",
)
@click.option("--all", "everything", is_flag=True, help="Renew everything, whenever it ends.")
@click.option("--check", is_flag=True, help="Only show what is due.")
@click.option("--policy/--no-policy", "with_policy", default=True, help="Renew the policy too.")
@json_option
@click.pass_context
def renew(
    ctx: click.Context,
    within: int,
    everything: bool,
    check: bool,
    with_policy: bool,
    as_json: bool,
) -> None:
    """Renew the certificates that are kept here, and the policy, before or after their end.

    Certificates keep their keys, names and hosts, and a running gateway takes new files by itself.
    The next policy has the same content. Where enough root keys lie in STATE/roots, it is signed
    and accepted; otherwise a draft is written, and the output says who does what.
    """
    now = datetime.now(UTC)
    span = timedelta.max if everything else timedelta(days=within)
    rows = []
    for kept in kept_certificates(state_folder(ctx)):
        due = everything or kept.ends_within(now, span)
        rows.append(_certificate(ctx, kept, now, due, check))
    if with_policy:
        rows.append(_policy(ctx, now, within, everything, check))
    show_rows(rows, _COLUMNS, as_json)
    for row in rows:
        for line in row.get("next", ()):
            click.echo(line, err=as_json)
    if check and any(row["state"] == "due" for row in rows):
        ctx.exit(1)


def _certificate(
    ctx: click.Context, kept: KeptCertificate, now: datetime, due: bool, check: bool
) -> Row:
    what = f"certificate of {kept.what}"
    if not due or check:
        return _row(what, kept.end, now, "due" if due else "kept")
    state = state_folder(ctx)
    found = open_authority(state, kept.authority, now, lambda path: passphrase_of(path, ask_secret))
    kept.renew(found)
    (renewed,) = (each for each in kept_certificates(state) if each.path == kept.path)
    return _row(what, renewed.end, now, "renewed")


def _row(what: str, end: datetime, now: datetime, state: str, *following: str) -> Row:
    row: Row = {"what": what, "until": format_time(end), "days_left": (end - now).days}
    return row | {"state": state} | ({"next": list(following)} if following else {})


def _policy(ctx: click.Context, now: datetime, within: int, everything: bool, check: bool) -> Row:
    """Renew the policy of the gateway, or, where none answers, of the chain that is kept here."""
    person, asked = profile(ctx, "admin"), (within, everything, check)
    until = time.monotonic() + _TAKEN_SECONDS
    # A gateway takes its new certificate within a second; until then no connection is made.
    while _listens(person.endpoint):
        try:
            with connected(person) as channel:
                current = newest(fetch_chain(ctx, person, channel), person)
                return _renew_policy(ctx, current, now, asked, person, channel)
        except grpc.RpcError as error:
            unavailable = (
                isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.UNAVAILABLE
            )
            if not unavailable:
                raise
            if check or time.monotonic() > until:
                break
            time.sleep(_LOOK_SECONDS)
    current = newest(read_chain(ctx, ()), person)
    return _renew_policy(ctx, current, now, asked, person, None)


def _listens(endpoint: str) -> bool:
    """Whether anybody listens there, whatever certificate it has."""
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _TAKEN_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True


def _renew_policy(
    ctx: click.Context,
    current: Policy,
    now: datetime,
    asked: tuple[int, bool, bool],
    person: Profile,
    channel: grpc.Channel | None,
) -> Row:
    within, everything, check = asked
    what, end = f"policy version {current.version}", parse_time(current.expires)
    due = everything or end - now < timedelta(days=within)
    if not due or check:
        return _row(what, end, now, "due" if due else "kept")
    document = successor_of(current, now, POLICY_LIFETIME)
    end = parse_time(document["expires"])
    what = f"policy version {document['version']}"
    draft = Path(f"policy-{document['version']}.json")
    roots = _roots_here(ctx, current)
    if len(roots) < current.root.threshold:
        write_draft(draft, document)
        signed = draft.with_suffix(".signed.json")
        following = (
            f"{current.root.threshold} holders of root keys, one after the other: "
            f"sealgate policy sign {draft} --key KEY (from the second on: {signed})",
            f"then the admin: sealgate policy accept {signed}",
        )
        return _row(what, end, now, "drafted", *following)
    signers = [open_signer(path, ask_secret) for path in roots[: current.root.threshold]]
    envelope = dsse.sign(Policy.PAYLOAD_TYPE, canonical.encode(document), *signers).encode()
    if channel is None:
        signed = draft.with_suffix(".signed.json")
        replace_file(signed, envelope)
        return _row(
            what, end, now, "signed", f"once the gateway runs: sealgate policy accept {signed}"
        )
    send(PolicyServiceStub(channel).AcceptPolicy, AcceptPolicyRequest(envelope=envelope))
    fetch_chain(ctx, person, channel)
    return _row(what, end, now, "renewed")


def _roots_here(ctx: click.Context, policy: Policy) -> list[Path]:
    """The files of root keys that lie here, by the ids of the public keys beside the policy."""
    found = []
    for path in sorted((state_folder(ctx) / "roots").glob("*.key")):
        public = state_folder(ctx) / "trust" / f"{path.stem}.pem"
        if public.exists() and _keyid(public) in policy.root.keys:
            found.append(path)
    return found


def _keyid(path: Path) -> str:
    return PublicKey.from_pem(path.read_text()).keyid
