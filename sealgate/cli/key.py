"""`sealgate key`: creates signing keys and shows their public parts."""

from pathlib import Path

import click

from sealgate.cli.key_rotation import rotate
from sealgate.cli.output import HelpfulGroup, ask_hidden, ask_secret, json_option, show_fields
from sealgate.private_keys import PASSPHRASE_VARIABLE, open_signer, read_passphrase
from sealgate.trust.keys import ECDSA_P256, ED25519, PrivateKey, save_private_key
from sealgate.trust.transparency import note

passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar=PASSPHRASE_VARIABLE,
    show_envvar=True,
    help="A file with the passphrase, readable only by its owner; default: ask for it.",
)


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
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--scheme", type=click.Choice([ED25519, ECDSA_P256]), default=ED25519)
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
