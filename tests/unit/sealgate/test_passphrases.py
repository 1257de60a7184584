"""Encrypted keys: a clear error without a terminal, and for a wrong or missing passphrase."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sealgate.private_keys import PASSPHRASE_VARIABLE, open_signer
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys import PrivateKey, save_private_key


def without_terminal(*words: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a session of its own, which has no terminal to ask on."""
    environment = {name: text for name, text in os.environ.items() if name != PASSPHRASE_VARIABLE}
    return subprocess.run(
        [Path(sys.executable).with_name("sealgate"), *words],
        input="typed where all could read it\n" * 2,
        capture_output=True,
        text=True,
        env=environment,
        start_new_session=True,
    )


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    place = tmp_path / "anna.key"
    save_private_key(place, PrivateKey.generate(), b"secret")
    return place


def test_without_a_terminal_the_error_says_what_to_do(locked: Path) -> None:
    made = locked.with_name("new.key")
    for words in (("key", "show", str(locked)), ("key", "new", str(made))):
        done = without_terminal(*words)
        assert done.returncode == 1
        assert f"Error: {Reason.KEY_UNREADABLE.name}" in done.stderr
        assert PASSPHRASE_VARIABLE in done.stderr
        assert "may be echoed" not in done.stderr
    assert not made.exists()


def test_a_wrong_or_missing_passphrase_names_the_file(locked: Path) -> None:
    for ask, why in ((lambda _: "wrong", "a wrong passphrase"), (None, "it is encrypted")):
        with pytest.raises(SealgateError) as refused:
            open_signer(locked, ask)
        assert refused.value.reason is Reason.KEY_UNREADABLE
        assert str(locked) in refused.value.detail
        assert why in refused.value.detail
