"""How runs of a language model are compared: by turns, within rounds, and by their tokens."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.generate import peer, qwen
from benchmarks.generate.served import STREAMS, Refused, Run, passing, ratio, rounds, row
from benchmarks.processes import pinned


def test_ways_take_turns_and_the_first_round_only_warms() -> None:
    asked: list[str] = []

    def way(name: str, rate: float):  # type: ignore[no-untyped-def]
        def ask(streams: int, prompts: Sequence[str]) -> Run:
            assert len(prompts) == 2 * streams
            asked.append(name)
            return Run(rate, (0.1,) * streams)

        return ask

    ways = {name: way(name, rate) for name, rate in (("one", 4.0), ("two", 2.0), ("three", 1.0))}
    runs = rounds(ways, 2, ["prompt"] * 32, 2)
    assert asked[:9] == ["one", "two", "three", "two", "three", "one", "three", "one", "two"]
    assert {key: len(found) for key, found in runs.items()} == {
        (name, streams): 2 for name in ways for streams in STREAMS
    }
    assert ratio(runs, "one", "two", 4) == 2.0
    assert row("one", 4, runs["one", 4]) == {
        "way": "one",
        "streams": 4,
        "tokens_s": 4.0,
        "first_p50_ms": pytest.approx(100),
        "first_p99_ms": pytest.approx(100),
    }


def test_a_ratio_is_taken_within_a_round() -> None:
    runs = {
        ("one", 1): [Run(rate, ()) for rate in (1.0, 20.0, 3.0)],
        ("two", 1): [Run(rate, ()) for rate in (2.0, 10.0, 3.0)],
    }
    assert ratio(runs, "one", "two", 1) == 1.0


def test_tokens_agree_up_to_the_first_that_differs() -> None:
    ours = Run(1.0, (), ids=((1, 2, 3, 4), (5, 6)))
    assert qwen.agreed(ours, ours) == 1.0
    # Tokens after the first difference may be the same by chance.
    theirs = Run(1.0, (), ids=((1, 9, 3, 4), (5, 6, 7)))
    assert qwen.agreed(ours, theirs) == 0.5


def test_prompts_that_are_refused_are_left_out() -> None:
    def way(streams: int, prompts: Sequence[str]) -> Run:
        if "bad" in prompts[0]:
            raise Refused("ADVERSARIAL_INPUT")
        return Run(1.0, ())

    prompts = ["one", "bad", "two", "three"]
    assert passing(way, prompts, 2) == ["one", "two"]
    with pytest.raises(SystemExit, match="3 prompts are answered, not 4"):
        passing(way, prompts, 4)


def test_llama_is_asked_for_ids_and_answers_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "peers" / "llama_answers.py"
    program.parent.mkdir()
    program.write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        "    ids = [prompt + asked['ends'] for prompt in asked['prompts']]\n"
        "    told = {'seconds': 2.0, 'first': [0.5] * len(ids), 'ids': ids}\n"
        "    print(json.dumps(told), flush=True)\n"
    )
    core = min(os.sched_getaffinity(0))
    with peer.llama(tmp_path / "model.gguf", lambda text: [len(text)], [7], core, program) as ask:
        assert ask(2, ["a", "bc"]) == Run(2.0, (0.5, 0.5), {}, ((1, 7), (2, 7)))


def test_llama_runs_on_its_core_though_who_asks_is_kept_to_another(tmp_path: Path) -> None:
    program = tmp_path / "llama_answers.py"
    program.write_text(
        "import json, os\n"
        "input()\n"
        "told = {'seconds': 1.0, 'first': [], 'ids': [sorted(os.sched_getaffinity(0))]}\n"
        "print(json.dumps(told), flush=True)\n"
    )
    cores = sorted(os.sched_getaffinity(0))
    with (
        pinned({cores[0]}),
        peer.llama(tmp_path / "model.gguf", len, [], cores[-1], program) as ask,
    ):
        assert ask(1, []).ids == ((cores[-1],),)


def test_without_its_environment_it_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert peer.why_missing()
