"""The page of a decision for a case file."""

import pytest

from sealgate.pages.offline import Case, CaseStep, check_commands, decision_page

DIGEST = "sha256:" + "ab" * 32
CASE = Case(
    "house/answers",
    7,
    {"model": "digits", "version": "2", "time": "2026-11-29T10:00:00.000000Z"},
    b'{"receipt":1}',
    "sha256:" + "cd" * 32,
    "2026-11-29T11:00:00Z",
    ("ef" * 32,),
)


def test_each_step_has_its_digests_and_the_command_that_checks_it() -> None:
    steps = [CaseStep("version", f"it is {DIGEST}", "holds"), CaseStep("approvals", "", "holds")]
    page = decision_page(CASE, steps, "holds")
    assert page.count(f"<code>{DIGEST}</code>") == 1
    assert "sealgate model show digits 2" in page
    assert "sealgate model proposals digits" in page
    assert "every step holds" in page
    assert all(root in page for root in CASE.roots)


def test_a_step_that_does_not_hold_is_told_first() -> None:
    page = decision_page(CASE, [CaseStep("pointer", "", "POINTER_STALE: old")], "holds")
    assert page.index("not every step holds") < page.index("POINTER_STALE: old")


@pytest.mark.parametrize("words", ["<script>alert(1)</script>", "\u202egnp.exe", '"><img src=x>'])
def test_what_others_wrote_cannot_become_markup(words: str) -> None:
    fields = {**CASE.fields, "model": words, "outcome": words}
    case = Case("o", 1, fields, words.encode(), words, words, (words,))
    page = decision_page(case, [CaseStep(words, words, words)], "holds")
    assert words not in page
    assert "<script" not in page


def test_commands_quote_what_others_named() -> None:
    commands = check_commands("approvals", {"model": "a; rm -rf /"}, "o", 1)
    assert commands == ["sealgate model proposals 'a; rm -rf /'"]
