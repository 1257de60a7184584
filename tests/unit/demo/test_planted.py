"""Instructions planted in what tools fetch, and notices that look like them."""

from demo.planted import harmless, injections


def test_they_are_the_same_each_time_and_of_many_kinds() -> None:
    some = list(injections(200))
    assert some == list(injections(200))
    assert len(set(some)) > 150
    assert all(not text[0].islower() for text in some)


def test_no_notice_is_an_injection() -> None:
    notices = set(harmless(500))
    assert not notices & set(injections(500))
    assert len(notices) > 250


def test_some_notices_are_records_of_machines() -> None:
    assert sum(text.startswith(('{"id"', "GET /items/")) for text in harmless(300)) > 10
