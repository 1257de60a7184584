"""`sealgate key`: making a signing key, and what a policy needs to know of one."""

from pathlib import Path

import click

from sealgate.cli.failures import HelpfulGroup
from sealgate.cli.output import ask_secret, json_option, show_fields
from sealgate.signing_keys import open_signer
from sealgate.trust import note
from sealgate.trust.keys import ECDSA_P256, ED25519, PrivateKey, save_private_key


@click.group("key", cls=HelpfulGroup)
def key() -> None:
    """Make signing keys, and show their public halves for the policy."""


@key.command(
    epilog="\b\nExamples:\n  sealgate key new anna.key\n"
    "  sealgate key new --scheme ecdsa-p256 model-signing.key"
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--scheme", type=click.Choice([ED25519, ECDSA_P256]), default=ED25519)
@click.option(
    "--unencrypted", is_flag=True, help="No passphrase: whoever can read the file can sign."
)
@json_option
def new(file: Path, scheme: str, unencrypted: bool, as_json: bool) -> None:
    """Write a new private key to FILE, encrypted with a passphrase."""
    passphrase = None
    if not unencrypted:
        passphrase = str(
            click.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True)
        )
        if not passphrase:
            raise click.ClickException("a passphrase must not be empty")
    made = PrivateKey.generate(scheme)
    save_private_key(file, made, passphrase.encode() if passphrase else None)
    show_fields({"id": made.public.keyid, "public_key": made.public.pem}, as_json)


@key.command(
    epilog="\b\nExamples:\n  sealgate key show anna.key\n"
    "  sealgate key show 'pkcs11:token=approvals;object=anna'\n"
    "  sealgate key show --origin bank.example/answers-2 answers-2.key"
)
@click.argument("place")
@click.option("--origin", help="Show the verifier key of a log of that origin, too.")
@json_option
def show(place: str, origin: str | None, as_json: bool) -> None:
    """Show the id and the public half of the private key at PLACE, a PEM file or a pkcs11: URI."""
    public = open_signer(place, ask_secret).public
    values = {"id": public.keyid, "scheme": public.scheme, "public_key": public.pem}
    if origin:
        values["verifier_key"] = note.vkey(origin, public)
    show_fields(values, as_json)
