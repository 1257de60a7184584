"""A server of OpenAI's protocol tells at the end alone how many tokens an answer had, and several
may come in one part. Of an answer that was cut the parts were counted: whoever took long parts and
left before the end paid for a few of many tokens, and the metrics told as many.
"""

from inference.statistics import Duration
from sealgate.reasons import Reason, Refusal
from tests.regress.gateway.test_prompts_that_cost_no_quota import Elsewhere, left

PROMPT, NOTHING = 60, Duration()


def test_who_leaves_pays_the_most_that_came() -> None:
    elsewhere = Elsewhere(3, None, b"four")
    assert left(elsewhere, 2) == 100 - PROMPT - 8
    assert elsewhere.statistics.report(NOTHING).output_tokens == 0


def test_he_pays_no_more_than_he_asked_for() -> None:
    assert left(Elsewhere(3, None, b"a long part of many tokens"), 2) == 100 - PROMPT - 10


def test_who_awaits_the_end_pays_what_is_told() -> None:
    elsewhere = Elsewhere(3, None, b"four")
    assert left(elsewhere, 4) == 100 - 20 - 3
    assert elsewhere.statistics.report(NOTHING).output_tokens == 3


def test_a_server_that_breaks_off_has_said_as_much() -> None:
    error = Refusal(Reason.ENGINE_UNAVAILABLE)
    assert left(Elsewhere(2, error, b"four"), 3) == 100 - PROMPT - 8
