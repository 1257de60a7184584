"""A language model alone in a process.

    python -m benchmarks.generate.alone FOLDER PRECISION PROMPTS

Prints, as JSON, the tokens a second of transformers' greedy `generate`, prompt after prompt of a
JSON list of texts; the megabytes of its weights; and the most that the process had in memory.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from benchmarks.processes import Cores, pinned, status_kb
from generation.models.decoder import LanguageModel
from inference.llm.request import Sampling, SamplingRequest
from inference.llm.terms import FLOAT32, INT8

TOKENS = 48
_MOST = 512


def beside(folder: Path, prompts: list[str]) -> list[dict[str, Any]]:
    """A row for each precision, each from a process of its own."""
    rows = []
    for precision in (FLOAT32, INT8):
        command = [sys.executable, "-m", "benchmarks.generate.alone", str(folder), precision]
        told = subprocess.run([*command, json.dumps(prompts)], capture_output=True, check=True)
        rows.append(
            {"way": "plain", "streams": 1, "precision": precision, **json.loads(told.stdout)}
        )
    return rows


def measure(folder: Path, precision: str, prompts: list[str]) -> dict[str, float]:
    decoder = LanguageModel.read(folder, precision)
    model = decoder.model
    settings = GenerationConfig(
        max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False, pad_token_id=0
    )
    cut = [
        decoder.prompt_ids(SamplingRequest(text.encode(), False, Sampling(1)), _MOST)
        for text in prompts
    ]
    with pinned({Cores.of_this_machine().server}), torch.inference_mode():
        # The first warms what the others need.
        for number, ids in enumerate(cut):
            if number == 1:
                begun = time.perf_counter()
            model.generate(torch.tensor([ids]), generation_config=settings)
        rate = TOKENS * (len(cut) - 1) / (time.perf_counter() - begun)
    held = {t.data_ptr(): t.nbytes for t in (*model.parameters(), *model.buffers())}
    return {
        "tokens_s": rate,
        "weights_mb": round(sum(held.values()) / 1e6, 1),
        "peak_mb": round(status_kb(os.getpid(), "VmHWM") / 1e3),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))))
