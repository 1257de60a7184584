"""Parts of long jailbreaks, made up."""

from demo.jailbreaks import injections


def test_they_are_the_same_each_time_and_of_many_kinds() -> None:
    some = list(injections(400))
    assert some == list(injections(400))
    assert len(set(some)) > 300


def test_each_fits_a_window_and_leaves_no_part_open() -> None:
    for text in injections(400):
        assert len(text.split()) < 45
        assert "{" not in text
        assert "}" not in text


def test_half_have_a_second_sentence_of_another_kind() -> None:
    assert sum(len(text) > 120 for text in injections(400)) > 150
