from datetime import UTC, datetime, timedelta

import pytest

from console.sign_in.links import holds, take_link, write_link

NOW = datetime(2026, 11, 29, 10, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "links"


def test_a_link_is_followed_once(folder):
    code = write_link(folder, "the token", NOW, QUARTER)
    assert holds(folder, code, NOW)
    assert take_link(folder, code, NOW) == "the token"
    assert take_link(folder, code, NOW) is None
    assert not holds(folder, code, NOW)
    assert list(folder.iterdir()) == []


def test_looking_at_a_link_does_not_use_it_up(folder):
    code = write_link(folder, "the token", NOW, QUARTER)
    for _ in range(3):
        assert holds(folder, code, NOW)
    assert take_link(folder, code, NOW) == "the token"


def test_a_link_that_is_too_old_signs_nobody_in(folder):
    code = write_link(folder, "the token", NOW, QUARTER)
    assert not holds(folder, code, NOW + QUARTER)
    assert take_link(folder, code, NOW + QUARTER) is None


def test_the_folder_shows_no_code_and_others_cannot_read_it(folder):
    code = write_link(folder, "the token", NOW, QUARTER)
    (file,) = folder.iterdir()
    assert code not in file.name
    assert file.stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("code", ["", "../secret", "x" * 32 + "/", "x" * 31, "%2e%2e"])
def test_a_code_of_another_form_leads_nowhere(folder, code):
    folder.mkdir()
    (folder.parent / "secret").write_text('{"token": "t", "until": "2030-01-01T00:00:00Z"}')
    assert take_link(folder, code, NOW) is None
    assert not holds(folder, code, NOW)
