"""A decoder of random weights, plain, served and governed.

A token's cost does not depend on its text.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.generate import alone
from benchmarks.generate.served import STREAMS, ratio, rounds, row, served
from benchmarks.report import Row, Target
from generation.models.decoder import LanguageModel
from generation.models.perplexity import WINDOW, score
from inference.llm.request import Sampling, SamplingRequest
from tests.support.builders.models import tiny_decoder

_WIDTH, _LAYERS = 512, 12
_SMALL = 64, 2
_ROUNDS = 6
LEAST = 0.95
WHY = "each token passes a process more, and gateway and callers share a core"


def measure(quick: bool) -> list[Row]:
    """Rows of each way, those of `gateway` with what they are beside `engine`."""
    torch.set_num_threads(1)
    width, layers = _SMALL if quick else (_WIDTH, _LAYERS)
    with TemporaryDirectory() as place:
        folder = tiny_decoder.make(Path(place) / "model", steps=0, width=width, layers=layers)
        rows = alone.beside(folder, tiny_decoder.prompts(9))
        prompts = _clean(folder)
        with served(Path(place) / "state", folder, prompts[0]) as (ways, _):
            runs = rounds(ways, 1 if quick else _ROUNDS, prompts, 2)
    model = {"width": width, "layers": layers, "vocabulary": tiny_decoder.VOCABULARY}
    rows += [row(*key, found) for key, found in runs.items()]
    for each in rows:
        if each["way"] == "gateway":
            each["beside_engine"] = ratio(runs, "gateway", "engine", each["streams"])
    return [{**each, "model": model} for each in rows]


def targets(rows: list[Row]) -> list[Target]:
    """The gateway beside the engine alone, and batches beside one answer after another."""
    found = [governed(rows, streams) for streams in STREAMS]
    together = _of(rows, "gateway", 16) / float(rows[0]["tokens_s"])
    name = "tokens/s of 16 streams beside plain generate"
    return [*found, Target(name, together, 2.0, least=True)]


def governed(rows: list[Row], streams: int, model: str = "") -> Target:
    """The target of the gateway beside the engine; `model` says of which, where it is not tiny."""
    value = next(
        r["beside_engine"] for r in rows if (r["way"], r["streams"]) == ("gateway", streams)
    )
    of = f", {model}" if model else ""
    name = f"tokens/s through the gateway beside the engine alone, {streams} streams{of}"
    return Target(name, value, LEAST, least=True, why="" if value >= LEAST else WHY)


def _clean(folder: Path) -> list[str]:
    """Prompts that screening lets pass, the least surprising first: it refuses a few of any."""
    decoder = LanguageModel.read(folder)

    def surprise(prompt: str) -> float:
        ids = decoder.prompt_ids(SamplingRequest(prompt.encode(), False, Sampling(1)), 96)
        return score(decoder.model, ids, WINDOW)

    return sorted(tiny_decoder.prompts(90), key=surprise)[: 4 * max(STREAMS)]


def _of(rows: list[dict[str, Any]], way: str, streams: int) -> float:
    return float(next(r["tokens_s"] for r in rows if (r["way"], r["streams"]) == (way, streams)))
