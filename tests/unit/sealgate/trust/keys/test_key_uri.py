"""URIs of keys in tokens (RFC 7512), and the encrypted files that are the default."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from sealgate.cli.main import main
from sealgate.private_keys import open_signer
from sealgate.reasons import Reason
from sealgate.trust.keys import PrivateKey, save_private_key
from sealgate.trust.keys.pkcs11_uri import MODULE_VARIABLE, KeyUri, is_key_uri
from tests.support.builders.documents.people import key, refused

WHOLE = (
    "pkcs11:token=house%20keys;object=anna;id=%01%ff;type=private"
    "?pin-source=file:/run/pin&module-path=/usr/lib/p11.so"
)


@pytest.fixture(autouse=True)
def no_module(monkeypatch):
    monkeypatch.delenv(MODULE_VARIABLE, raising=False)


def test_a_whole_uri():
    uri = KeyUri.parse(WHOLE)
    assert (uri.token, uri.object, uri.id) == ("house keys", "anna", b"\x01\xff")
    assert (uri.pin_source, uri.module) == (Path("/run/pin"), Path("/usr/lib/p11.so"))
    assert KeyUri.parse(WHOLE.replace("file:/run", "file:///run")) == uri
    assert KeyUri.parse(WHOLE.replace("file:/run", "/run")) == uri


def test_the_library_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv(MODULE_VARIABLE, "/usr/lib/p11.so")
    assert KeyUri.parse("pkcs11:serial=42;object=anna").module == Path("/usr/lib/p11.so")


@pytest.mark.parametrize(
    "text",
    [
        "file:/anna.key",
        WHOLE.replace("token=house%20keys;", ""),
        WHOLE.replace("object=anna;id=%01%ff;", ""),
        WHOLE.replace("type=private", "type=cert"),
        WHOLE.replace("object=anna", "object=anna;object=arne"),
        WHOLE.replace("object=anna", "object=%ff"),
        WHOLE.replace("object=anna", "label=anna"),
        WHOLE.replace("object=anna", "object"),
        WHOLE.replace("pin-source=file:/run/pin", "pin-value=1234"),
        WHOLE.replace("object=anna", "object=anna;pin-value=1234"),
        WHOLE.replace("file:/run/pin", "file:pin"),
        WHOLE.replace("/usr/lib/p11.so", "p11.so"),
        WHOLE.replace("&module-path=/usr/lib/p11.so", ""),
    ],
)
def test_what_is_refused(text):
    with refused(Reason.KEY_UNREADABLE) as caught:
        KeyUri.parse(text)
    assert "1234" not in str(caught.value)


def test_what_names_a_token():
    assert is_key_uri(WHOLE)
    assert not is_key_uri(Path("keys/pkcs11.key"))


def test_a_new_key_is_encrypted_unless_one_says_otherwise(tmp_path):
    run = CliRunner()
    made = run.invoke(main, ["key", "new", str(tmp_path / "a.key")], input="secret\nsecret\n")
    assert made.exit_code == 0, made.output
    assert b"ENCRYPTED" in (tmp_path / "a.key").read_bytes()
    assert "secret" not in made.output
    shown = run.invoke(main, ["key", "show", str(tmp_path / "a.key")], input="secret\n")
    assert shown.exit_code == 0, shown.output
    assert made.stdout.splitlines()[0].split()[-1] in shown.stdout
    plain = run.invoke(main, ["key", "new", "--unencrypted", str(tmp_path / "b.key")])
    assert plain.exit_code == 0, plain.output
    assert open_signer(tmp_path / "b.key").public.keyid in plain.output


def test_an_encrypted_file_needs_its_passphrase(tmp_path):
    place = tmp_path / "anna.key"
    save_private_key(place, PrivateKey.from_pem(key("anna").to_pem()), b"secret")
    assert open_signer(place, lambda _: "secret").public == key("anna").public
    with refused(Reason.KEY_UNREADABLE):
        open_signer(place, lambda _: "wrong")
    with refused(Reason.KEY_UNREADABLE):
        open_signer(place)
    with refused(Reason.KEY_UNREADABLE):
        open_signer(tmp_path / "nobody.key", lambda _: "secret")
