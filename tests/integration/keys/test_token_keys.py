"""Keys in a PKCS#11 token (SoftHSM2): what they sign is what keys in files sign."""

import threading

import pytest
from click.testing import CliRunner

from sealgate.cli.main import main
from sealgate.private_keys import open_signer
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import dsse
from sealgate.trust.keys import ECDSA_P256, ED25519, PublicKey
from sealgate.trust.keys.cose import Sign1
from sealgate.trust.keys.pkcs11_key import TokenKey
from sealgate.trust.keys.pkcs11_uri import MODULE_VARIABLE
from sealgate.trust.receipts.cose_receipt import sign_root
from sealgate.trust.statements import Manifest, oms
from sealgate.trust.transparency import Checkpoint, note, open_checkpoint, sign_checkpoint
from tests.support.builders.documents.people import refused
from tests.support.harness.servers.softhsm import PIN


@pytest.mark.parametrize(("name", "scheme"), [("anna-ed", ED25519), ("anna", ECDSA_P256)])
def test_what_it_signs_verifies_under_its_public_key(token, name, scheme):
    signer = open_signer(token.uri(name))
    assert isinstance(signer, TokenKey)
    assert signer.public.scheme == scheme
    public = PublicKey.from_pem(signer.public.pem)
    envelope = dsse.sign("application/example", b"{}", signer)
    assert dsse.verify(envelope, "application/example", {public.keyid: public}) == {public.keyid}
    # A signature of P-256 has another length now and then.
    for number in range(30):
        public.verify(signer.sign(b"%d" % number), b"%d" % number)
    with refused(Reason.SIGNATURE_INVALID):
        public.verify(signer.sign(b"message"), b"massage")


def test_a_log_in_a_token_needs_ed25519(token):
    log = open_signer(token.uri("registry-log"))
    checkpoint = Checkpoint("example.org/log", 7, bytes(32))
    signed = sign_checkpoint(checkpoint, log)
    assert open_checkpoint(signed, note.vkey("example.org/log", log.public)) == checkpoint
    with refused(Reason.DOCUMENT_MALFORMED):
        sign_checkpoint(checkpoint, open_signer(token.uri("anna")))


def test_a_log_in_a_token_signs_cose_receipts(token):
    log, root = open_signer(token.uri("registry-log")), b"r" * 32
    signed = sign_root(Checkpoint("example.org/log", 7, root), log)
    Sign1.decode(signed.encode()).verify(PublicKey.from_pem(log.public.pem), root)
    with refused(Reason.DOCUMENT_MALFORMED):
        sign_root(Checkpoint("example.org/log", 7, root), open_signer(token.uri("anna")))


def test_a_publisher_signs_models_with_a_token(token):
    manifest = Manifest.of({"model.json": b"{}"})
    signer = open_signer(token.uri("paula-models"))
    signature = oms.sign(manifest, signer)
    assert oms.verify(signature, manifest, [signer.public]) == signer.public


def test_many_threads_sign_with_two_keys_of_one_token(token):
    signers = [open_signer(token.uri("anna")), open_signer(token.uri("anna-ed"))]
    failures = []

    def work(signer):
        try:
            for number in range(20):
                signer.public.verify(signer.sign(b"%d" % number), b"%d" % number)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(signer,)) for signer in signers * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize(
    "change",
    [
        ("object=anna", "object=nobody"),
        ("house%20keys", "other%20keys"),
        ("object=anna", "object=too-large"),
        ("libsofthsm2.so", "libnothing.so"),
    ],
    ids=["key", "token", "curve", "library"],
)
def test_what_is_not_there(token, change):
    with refused(Reason.KEY_UNREADABLE):
        open_signer(token.uri("anna").replace(*change))


def test_the_pin_is_a_private_file(token, tmp_path):
    exposed = tmp_path / "pin"
    exposed.write_text(PIN)
    exposed.chmod(0o640)
    uri = token.uri("anna").replace(str(token.pin_file), str(exposed))
    with refused(Reason.KEY_FILE_EXPOSED):
        open_signer(uri)
    with refused(Reason.KEY_UNREADABLE):
        open_signer(token.uri("anna", pin=False))


def test_no_refusal_tells_the_pin(token):
    uri = token.uri("anna").replace("object=anna", f"object=anna;pin-value={PIN}")
    for place in (uri, token.uri("anna").replace("?", f"?pin-value={PIN}&")):
        with pytest.raises(SealgateError) as caught:
            open_signer(place)
        assert caught.value.reason is Reason.KEY_UNREADABLE
        assert PIN not in str(caught.value)


def test_the_command_asks_for_the_pin_and_shows_the_public_half(token, monkeypatch):
    monkeypatch.setenv(MODULE_VARIABLE, str(token.module))
    uri = token.uri("anna-ed", pin=False).partition("?")[0]
    words = ["key", "show", "--origin", "example.org/log", uri]
    result = CliRunner().invoke(main, words, input=f"{PIN}\n")
    assert result.exit_code == 0, result.output
    public = open_signer(token.uri("anna-ed")).public
    assert public.keyid in result.output
    assert note.vkey("example.org/log", public) in result.output
    assert PIN not in result.output
