from datetime import UTC, datetime, timedelta

import pytest

from sealgate.setup import people
from sealgate.setup.people import (
    ENROL,
    SIGN_IN,
    find_link,
    keep_passkey,
    kept_passkey,
    sweep,
    take_link,
    write_link,
)
from tests.support.builders.documents.authenticator import Authenticator

NOW = datetime(2026, 11, 29, 10, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "links"


def sign_in_link(folder, now=NOW):
    return write_link(folder, SIGN_IN, "the token", now, QUARTER)


def test_a_link_is_followed_once(folder):
    code = sign_in_link(folder)
    assert find_link(folder, code, NOW) == (SIGN_IN, "the token", NOW + QUARTER)
    assert take_link(folder, code, NOW) == (SIGN_IN, "the token", NOW + QUARTER)
    assert take_link(folder, code, NOW) is None
    assert find_link(folder, code, NOW) is None
    assert list(folder.iterdir()) == []


def test_a_link_that_is_being_written_is_not_swept(folder, monkeypatch):
    """A console deletes old links while commands write new ones."""
    write = people.write_private_file

    def slowly(path, data):
        path.touch()
        sweep(folder, NOW)
        path.unlink()
        write(path, data)

    monkeypatch.setattr(people, "write_private_file", slowly)
    assert take_link(folder, sign_in_link(folder), NOW) is not None


def test_looking_at_a_link_does_not_use_it_up(folder):
    code = sign_in_link(folder)
    for _ in range(3):
        assert find_link(folder, code, NOW)
    assert take_link(folder, code, NOW).value == "the token"


def test_a_link_that_is_too_old_leads_nowhere(folder):
    code = sign_in_link(folder)
    assert find_link(folder, code, NOW + QUARTER) is None
    assert take_link(folder, code, NOW + QUARTER) is None


def test_files_of_old_links_are_deleted_and_no_others(folder):
    sign_in_link(folder)
    later = write_link(folder, ENROL, "anna", NOW, timedelta(days=7))
    keep_passkey(folder, "bert", Authenticator("bert").passkey)
    (folder / ("a" * 64)).write_text("torn")
    (folder / "notes.txt").write_text("somebody's own")
    sweep(folder, NOW + QUARTER)
    assert find_link(folder, later, NOW + QUARTER).value == "anna"
    assert kept_passkey(folder, "bert").exists()
    assert len([file for file in folder.iterdir() if len(file.name) == 64]) == 1
    assert (folder / "notes.txt").exists()


def test_a_new_link_makes_room(folder):
    sign_in_link(folder)
    sign_in_link(folder, NOW + QUARTER)
    assert len(list(folder.iterdir())) == 1


def test_the_folder_shows_no_code_and_others_cannot_read_it(folder):
    code = sign_in_link(folder)
    (file,) = folder.iterdir()
    assert code not in file.name
    assert file.stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("code", ["", "../secret", "x" * 32 + "/", "x" * 31, "%2e%2e"])
def test_a_code_of_another_form_leads_nowhere(folder, code):
    folder.mkdir()
    secret = '{"kind": "sign-in", "value": "t", "until": "2030-01-01T00:00:00Z"}'
    (folder.parent / "secret").write_text(secret)
    assert take_link(folder, code, NOW) is None
    assert find_link(folder, code, NOW) is None
