"""`sealgate init`: what roots and people sign with is encrypted unless one says otherwise."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sealgate.cli.main import main
from sealgate.private_keys import PASSPHRASE_VARIABLE, open_signer
from sealgate.reasons import Reason
from sealgate.remote import Profile
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PublicKey
from sealgate.trust.policy import Policy
from tests.support.builders.documents.people import refused
from tests.support.oracles import programs

SECRET = "open sesame"
ROOTS = ("root-1", "root-2", "root-3")
SIGNERS = ("publisher", "approver-1", "approver-2", "admin")


def init(state: Path, *words: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, ["--state", str(state), "init", *words], input=answer)


def signing_keys(state: Path) -> list[Path]:
    people = [state / "people" / person / "signing.key" for person in SIGNERS]
    models = state / "people" / "publisher" / "model-signing.key"
    return [*(state / "roots" / f"{root}.key" for root in ROOTS), *people, models]


def secret_file(folder: Path, mode: int = 0o600) -> Path:
    path = folder / "passphrase"
    path.touch(mode)
    path.chmod(mode)
    path.write_text(f"{SECRET}\n")
    return path


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("init") / "state"
    made = init(state, answer=f"{SECRET}\n{SECRET}\n")
    assert made.exit_code == 0, made.output
    assert SECRET not in made.output
    assert "are encrypted" in made.output
    return state


def test_what_roots_and_people_sign_with_is_encrypted(state: Path) -> None:
    for path in signing_keys(state):
        assert b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes(), path
        with refused(Reason.KEY_UNREADABLE):
            open_signer(path)
        with refused(Reason.KEY_UNREADABLE):
            open_signer(path, lambda _: "open barley")


def test_no_other_key_of_people_signs(state: Path) -> None:
    listed = {path for folder in ("roots", "people") for path in (state / folder).rglob("*.key")}
    # It only says who is calling; gRPC takes no encrypted one.
    assert listed - set(signing_keys(state)) == set((state / "people").rglob("tls.key"))


def test_the_passphrase_opens_what_the_policy_names(state: Path) -> None:
    envelope = Envelope.decode((state / "trust" / "policy.json").read_bytes())
    policy = Policy.decode(envelope.payload)
    opened = {open_signer(path, lambda _: SECRET).public.keyid for path in signing_keys(state)}
    assert opened <= policy.keys.keys()
    for root in ROOTS:
        pinned = PublicKey.from_pem((state / "trust" / f"{root}.pem").read_text())
        assert pinned.keyid in opened


def test_openssl_opens_them_and_gives_each_their_own(state: Path, tmp_path: Path) -> None:
    openssl = programs.program("openssl")
    key, mine = state / "people" / "admin" / "signing.key", tmp_path / "signing.key"
    words = ("pkey", "-in", key, "-passin", f"pass:{SECRET}")
    done = programs.run([openssl, *words, "-aes256", "-passout", "pass:mine", "-out", mine])
    assert done.returncode == 0, done.stderr
    assert open_signer(mine, lambda _: "mine").public == open_signer(key, lambda _: SECRET).public


def test_services_start_by_themselves(state: Path) -> None:
    for path in (state / "keys").glob("*.key"):
        assert b"ENCRYPTED" not in path.read_bytes()
    assert open_signer(state / "keys" / "freshness.key")


def test_a_file_may_hold_the_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, secret = tmp_path / "state", secret_file(tmp_path)
    made = init(state, "--passphrase-file", str(secret))
    assert made.exit_code == 0, made.output
    monkeypatch.setenv(PASSPHRASE_VARIABLE, str(secret))
    for path in signing_keys(state):
        # Nobody is asked, so services may have encrypted keys too.
        assert open_signer(path, lambda _: pytest.fail("asked"))
        assert open_signer(path)
    other = init(tmp_path / "other")
    assert other.exit_code == 0, other.output
    assert b"ENCRYPTED" in signing_keys(tmp_path / "other")[0].read_bytes()


@pytest.mark.parametrize(
    ("mode", "text", "reason"),
    [
        (0o640, SECRET, Reason.KEY_FILE_EXPOSED),
        (0o600, "\n", Reason.KEY_UNREADABLE),
    ],
)
def test_a_passphrase_that_is_none_or_that_others_read(
    tmp_path: Path, mode: int, text: str, reason: Reason
) -> None:
    secret = secret_file(tmp_path, mode)
    secret.write_text(text)
    made = init(tmp_path / "state", "--passphrase-file", str(secret))
    assert made.exit_code == 1
    assert reason.name in made.output
    assert not (tmp_path / "state").exists()


def test_nobody_to_ask_makes_nothing(tmp_path: Path) -> None:
    made = init(tmp_path / "state")
    assert made.exit_code == 1
    assert not (tmp_path / "state").exists()


def test_keys_are_left_open_only_where_it_is_said(tmp_path: Path) -> None:
    made = init(tmp_path / "state", "--unencrypted-keys")
    assert made.exit_code == 0, made.output
    assert "NOT encrypted" in made.output
    for path in signing_keys(tmp_path / "state"):
        assert open_signer(path)


def test_a_person_is_asked_when_signing(state: Path) -> None:
    person = Profile.read(state / "people" / "admin" / "profile.toml")
    words = ["--state", str(state), "key", "show", str(person.signing_key)]
    shown = CliRunner().invoke(main, words, input=f"{SECRET}\n")
    assert shown.exit_code == 0, shown.output
    wrong = CliRunner().invoke(main, words, input="open barley\n")
    assert Reason.KEY_UNREADABLE.name in wrong.output


@pytest.mark.parametrize(
    ("words", "sessions"),
    [((), "alert"), (("--sessions", "block"), "block"), (("--sessions", "off"), None)],
)
def test_the_first_policy_screens_single_requests_and_sessions(
    tmp_path: Path, words: tuple[str, ...], sessions: str | None
) -> None:
    state = tmp_path / "state"
    made = init(state, "--unencrypted-keys", *words)
    assert made.exit_code == 0, made.output
    policy = Policy.decode(Envelope.decode((state / "trust" / "policy.json").read_bytes()).payload)
    screen = policy.screen("any-model")
    actions = [screen.action(v, ("client",), policy.rules) for v in ("suspect", "adversarial")]
    assert actions == ["label-only", "block"]
    assert screen.suspect_hold_ms == 100
    found = screen.sessions
    assert (found and (found.search, found.extraction)) == (sessions and (sessions, sessions))


def test_what_comes_next_is_said_for_the_same_folder(tmp_path: Path) -> None:
    made = init(tmp_path / "a bank", "--unencrypted-keys")
    assert f"Next: sealgate --state '{tmp_path / 'a bank'}' serve\n" in made.output


def test_a_folder_that_nobody_named_is_not_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = CliRunner().invoke(main, ["init", "--unencrypted-keys", "--separate-engine"])
    assert "Next: sealgate serve engine, and beside it sealgate serve\n" in made.output
