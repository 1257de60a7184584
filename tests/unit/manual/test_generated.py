"""The generated pages of docs/: the committed ones are what the code says, and say something."""

import pytest

from manual import configuration
from manual.__main__ import DOCS, PAGES
from manual.reasons import advice, groups
from sealgate.reasons import Reason

SECTIONS = [
    (f"{name} {heading}", section)
    for name, kind, _ in configuration.FILES[:-1]
    for heading, section, _ in configuration.sections(kind)
] + [("profile.toml", configuration.FILES[-1][1])]


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "run `make docs`"


@pytest.mark.parametrize("section", [one for _, one in SECTIONS], ids=[one for one, _ in SECTIONS])
def test_every_setting_says_what_it_is_for(section: type) -> None:
    found = configuration.settings(section)
    assert found
    assert [one.name for one in found if not one.purpose] == []
    assert [one.name for one in found if "<" in one.kind] == []


@pytest.mark.parametrize("section", [one for _, one in SECTIONS], ids=[one for one, _ in SECTIONS])
def test_every_setting_says_something_of_its_own(section: type) -> None:
    purposes = [one.purpose for one in configuration.settings(section)]
    assert len(set(purposes)) == len(purposes)


def test_a_setting_shows_its_type_its_default_and_what_it_is_for() -> None:
    limits = dict(SECTIONS)["gateway.toml [limits]"]
    threads = next(one for one in configuration.settings(limits) if one.name == "threads")
    assert (threads.kind, threads.default) == ("whole number", "`96`")
    assert threads.purpose.startswith("Calls that are worked on at once. At most three quarters")


def test_what_must_be_set_says_so() -> None:
    trust = configuration.settings(dict(SECTIONS)["gateway.toml [trust]"])
    assert {one.default for one in trust} == {"needed"}


def test_every_reason_is_in_one_group_with_its_advice() -> None:
    listed = [reason for _, reasons in groups() for reason in reasons]
    assert listed == list(Reason)
    assert all(advice(reason) for reason in Reason)
    assert "RetryInfo" in advice(Reason.QUEUE_FULL)
    assert advice(Reason.DRAINING) != advice(Reason.ENGINE_UNAVAILABLE)


def test_the_console_needs_no_section_whose_settings_have_defaults() -> None:
    (kind,) = (kind for name, kind, _ in configuration.FILES if name == "console.toml")
    optional = {heading: may for heading, _, may in configuration.sections(kind)}
    assert [heading for heading, may in optional.items() if not may] == [
        "[listen]",
        "[gateway]",
        "[trust]",
    ]


def test_a_default_list_is_written_as_in_toml() -> None:
    checks = dict(SECTIONS)["events.toml [checks]"]
    (days,) = (one for one in configuration.settings(checks) if one.name == "days")
    assert days.default == "`[30, 7, 1]`"


def test_a_log_that_was_not_shown_is_named_by_its_gateway_and_not_by_another_name() -> None:
    assert "`--gateway`" in advice(Reason.LOG_UNSEEN)
