"""Tokens are counted: against quotas, and by how long they were waited for."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

import grpc
import pytest

from gateway.admission.token_counts import MemoryTokens
from gateway.config.optional_sections import Quota
from sealgate.reasons import Reason
from sealgate.remote import reason_of
from tests.support.builders.chats import code, post, text_of
from tests.support.builders.generated import asked
from tests.support.harness.clients.http_client import HttpClient
from tests.support.harness.generator import GeneratorHarness


@contextmanager
def limited(harness: GeneratorHarness, tokens: str) -> Iterator[None]:
    """While the block runs, clients have a quota of tokens."""
    quotas = harness.gateway.quotas
    quotas.replace([Quota(role="client", tokens=tokens)])
    try:
        yield
    finally:
        quotas.replace([])


def metrics(harness: GeneratorHarness) -> dict[str, float]:
    connection = HTTPConnection("127.0.0.1", harness.gateway.ports["metrics"], timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_a_quota_of_tokens_counts_prompt_and_answer(
    harness: GeneratorHarness, client: HttpClient
) -> None:
    prompt = post(client, max_tokens=1).json["usage"]["prompt_tokens"]
    before = harness.gateway.recorder.size
    with limited(harness, f"{2 * prompt + 30}/hour"):
        assert post(client, max_tokens=10).status == 200
        assert post(client, max_tokens=15).status == 200
        # Five are left: none of the prompt and ten, and none of it and four, which was measured.
        for tokens in (10, 4, 1):
            found = post(client, max_tokens=tokens)
            assert (found.status, code(found)) == (429, Reason.TOKENS_SPENT)
            assert 3000 < int(found.headers["retry-after"]) <= 3600
        request = asked("The")
        for call in (
            lambda: harness.inference().ModelInfer(request),
            lambda: list(harness.inference().ModelStreamInfer(iter([request]))),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert reason_of(caught.value) is Reason.TOKENS_SPENT
    # Two answers, each in one part: what a quota refuses is counted alone.
    assert [entry["outcome"] for entry in harness.entries(before)] == ["answered", "answered"]
    assert harness.gateway.interceptor.counted_refusals[Reason.TOKENS_SPENT.name] >= 5


def test_tokens_that_an_answer_did_not_get_are_given_back(
    harness: GeneratorHarness, client: HttpClient
) -> None:
    prompt = post(client, max_tokens=1).json["usage"]["prompt_tokens"]
    with limited(harness, f"{2 * prompt + 70}/minute"):
        text = text_of(post(client, max_tokens=60).json)
        harness.gateway.quotas.tokens = MemoryTokens()
        # Set aside sixty, and used a few of them.
        stopped = post(client, max_tokens=60, stop=text[4:8]).json
        assert stopped["choices"][0]["finish_reason"] == "stop"
        assert post(client, max_tokens=50).status == 200


def test_how_long_tokens_are_waited_for_is_measured(
    harness: GeneratorHarness, client: HttpClient
) -> None:
    before = metrics(harness)
    usage = post(client, max_tokens=9).json["usage"]
    after = metrics(harness)

    def added(name: str, labels: str = "") -> float:
        key = f'{name}{{model="tiny"{labels},version="1"}}'
        return after[key] - before.get(key, 0.0)

    assert added("sealgate_first_token_seconds_count") == 1
    assert added("sealgate_next_token_seconds_count") == 8
    assert 0 < added("sealgate_first_token_seconds_sum") < 30
    assert added("sealgate_tokens_total", ',part="output"') == 9
    assert added("sealgate_tokens_total", ',part="prompt"') == usage["prompt_tokens"]
    for name in ("first", "next"):
        bound = f'sealgate_{name}_token_seconds_bucket{{le="+Inf",model="tiny",version="1"}}'
        count = f'sealgate_{name}_token_seconds_count{{model="tiny",version="1"}}'
        assert after[bound] == after[count]
