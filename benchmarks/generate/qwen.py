"""Qwen2.5-0.5B: plain, served, governed, and by llama.cpp from the same published weights.

llama.cpp has them in Q8_0, Sealgate in `int8-integer`: 8 bits a weight in both, rounded in another
way. So that the work is the same, prompts are the same ids, and tokens are the likeliest ones;
`agreed` is the share of tokens of an answer before its first one that differs.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.generate import alone, peer
from benchmarks.generate.served import (
    STREAMS,
    Run,
    Runs,
    Way,
    passing,
    ratio,
    rounds,
    row,
    served,
)
from benchmarks.generate.tiny import governed
from benchmarks.processes import Cores
from benchmarks.report import Row, Target
from generation.models.decoder import LanguageModel
from inference.llm.request import Sampling, SamplingRequest
from inference.llm.terms import INT8_INTEGER
from tests.support.builders.models import tiny_decoder

_ROOT = Path(__file__).parents[2]
_FOLDER = _ROOT / "build" / "llm" / "qwen"
_PROMPTS = _ROOT / "demo" / "llm" / "prompts.json"
_NAME = "Qwen2.5-0.5B"
_ROUNDS = 4
_BESIDE = 1 / 1.5
_GOLDEN = 4


def plain() -> list[Row]:
    """By transformers' `generate`, one prompt after another."""
    found = alone.beside(_folder(), tiny_decoder.prompts(5))
    return [each | {"way": f"plain, {_NAME}"} for each in found]


def measure(quick: bool) -> list[Row]:
    """Rows of each way, with what they are beside each other."""
    torch.set_num_threads(1)
    if reason := peer.why_missing():
        raise SystemExit(f"llama.cpp: {reason}")
    prompts: list[str] = json.loads(_PROMPTS.read_bytes())
    # Looked up before who asks is kept to one core. The generator's core is llama.cpp's too.
    core = Cores.of_this_machine().server
    with TemporaryDirectory() as place:
        state = Path(place) / "state"
        with served(state, _folder(), prompts[_GOLDEN], prompts, INT8_INTEGER) as (ways, published):
            # Of few prompts, the screen's bound lets it refuse one in twenty.
            asked = passing(ways["gateway"], prompts[_GOLDEN:], max(STREAMS))
            file = Path(place) / "model.gguf"
            peer.write_gguf(published, file)
            cut, ends = _tokenizing(published)
            with peer.llama(file, cut, ends, core) as llama:
                runs = _rounds({**ways, "llama.cpp": llama}, 1 if quick else _ROUNDS, asked)
    return [_row(runs, *key) for key in runs]


def targets(rows: list[Row]) -> list[Target]:
    """The gateway beside the engine alone, and beside llama.cpp."""
    found = [governed(rows, streams, _NAME) for streams in STREAMS]
    for each in rows:
        if each["way"] == "gateway":
            name = f"tokens/s through the gateway beside llama.cpp, {each['streams']} streams"
            found.append(Target(name, each["beside_llama"], _BESIDE, least=True))
    return found


def _rounds(ways: dict[str, Way], count: int, prompts: Sequence[str]) -> Runs:
    return rounds(ways, count, prompts, 1)


def _row(runs: Runs, way: str, streams: int) -> dict[str, Any]:
    found = {**row(way, streams, runs[way, streams]), "model": _NAME}
    if way == "gateway":
        found["beside_engine"] = ratio(runs, way, "engine", streams)
        found["beside_llama"] = ratio(runs, way, "llama.cpp", streams)
        found["agreed"] = agreed(runs[way, streams][0], runs["llama.cpp", streams][0])
    return found


def agreed(one: Run, other: Run) -> float:
    """The share of the tokens of answers that come before the first one that differs."""
    same = total = 0
    for ours, theirs in zip(one.ids, other.ids, strict=True):
        pairs = zip(ours, theirs, strict=False)
        differs = next((at for at, (a, b) in enumerate(pairs) if a != b), len(ours))
        same, total = same + differs, total + len(ours)
    return same / total


def _tokenizing(folder: Path) -> tuple[Callable[[str], Sequence[int]], Sequence[int]]:
    """How a prompt is cut as the generator cuts it, and the ids that end an answer."""
    decoder = LanguageModel.read(folder, INT8_INTEGER)
    return partial(_cut, decoder), decoder.ends


def _cut(decoder: LanguageModel, prompt: str) -> list[int]:
    return decoder.prompt_ids(SamplingRequest(prompt.encode(), False, Sampling(1)), 512)


def _folder() -> Path:
    """Raises: SystemExit."""
    if not _FOLDER.exists():
        raise SystemExit(f"there is no {_FOLDER}: `make build/llm/qwen` makes it")
    return _FOLDER
