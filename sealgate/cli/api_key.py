"""`sealgate api-key`: keys for callers that can hold a secret but no certificate."""

from datetime import UTC, datetime, timedelta

import click

from sealgate.cli.context import connected, profile
from sealgate.cli.options import list_options
from sealgate.cli.output import HelpfulGroup, json_option, show_fields, show_rows
from sealgate.remote.calls import list_all, send
from sealgate.trust.times import format_time
from sealgate.v1 import credential_pb2 as messages
from sealgate.v1.credential_pb2_grpc import CredentialServiceStub

_COLUMNS = ("id", "holder", "label", "creator", "expires", "state")


@click.group("api-key", cls=HelpfulGroup)
def api_key() -> None:
    """Issue, list and revoke API keys."""


@api_key.command(
    epilog="\b\nExamples:\n  sealgate api-key create client --label nightly\n"
    "  sealgate api-key create client --days 7"
)
@click.argument("principal")
@click.option("--label", default="", help="What the key is for.")
@click.option(
    "--days",
    type=click.FloatRange(0.001, 366),
    default=90.0,
    show_default=True,
    help="For how long the key is valid.",
)
@json_option
@click.pass_context
def create(ctx: click.Context, principal: str, label: str, days: float, as_json: bool) -> None:
    """Create an API key for PRINCIPAL and show it once.

    The key has the roles of its principal in the policy. Send it as `authorization: Bearer sg_...`,
    or name it as the `token` file of a profile.
    """
    expires = format_time(datetime.now(UTC) + timedelta(days=days))
    request = messages.CreateApiKeyRequest(holder=principal, label=label, expire_time=expires)
    with connected(profile(ctx, "admin")) as channel:
        made = send(CredentialServiceStub(channel).CreateApiKey, request)
    if not made.secret:
        id_ = _row(made.api_key)["id"]
        raise click.ClickException(
            f"the key {id_} was made, but the connection broke before it was shown, and nobody "
            f"keeps it: `sealgate api-key revoke {id_} --reason lost`, then make another"
        )
    show_fields({"key": made.secret, **_row(made.api_key)}, as_json)


@api_key.command(
    "list",
    epilog="\b\nExamples:\n  sealgate api-key list\n"
    "  sealgate api-key list --filter 'holder = client AND NOT revoke_time:*'",
)
@list_options
@json_option
@click.pass_context
def list_(ctx: click.Context, filter_: str, limit: int | None, as_json: bool) -> None:
    """List all API keys, oldest first. The keys themselves are not stored."""
    request = messages.ListApiKeysRequest(filter=filter_)
    with connected(profile(ctx, "admin")) as channel:
        method = CredentialServiceStub(channel).ListApiKeys
        rows = [_row(entry) for entry in list_all(method, request, "api_keys", limit)]
    show_rows(rows, _COLUMNS, as_json)


@api_key.command(epilog="\b\nExample:\n  sealgate api-key revoke 4f2a91c07d3e --reason leaked")
@click.argument("id_", metavar="ID")
@click.option("--reason", required=True, help="The reason, which is recorded in the log.")
@json_option
@click.pass_context
def revoke(ctx: click.Context, id_: str, reason: str, as_json: bool) -> None:
    """Revoke the API key ID, the part between sg_ and the next underscore."""
    request = messages.RevokeApiKeyRequest(name=f"api-keys/{id_}", reason=reason)
    with connected(profile(ctx, "admin")) as channel:
        ended = send(CredentialServiceStub(channel).RevokeApiKey, request)
    show_fields(_row(ended.api_key), as_json)


def _row(entry: messages.ApiKey) -> dict[str, str]:
    return {
        "id": entry.name.removeprefix("api-keys/"),
        "holder": entry.holder,
        "label": entry.label,
        "creator": entry.creator,
        "created": entry.create_time,
        "expires": entry.expire_time,
        "state": f"revoked by {entry.revoker}: {entry.revocation_reason}"
        if entry.revoke_time
        else "issued",
    }
