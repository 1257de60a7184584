"""`make bench NAME=longtexts`: what screening a long text adds to a process.

Two encoders of MiniLM's width with two layers and random weights, one with windows of attention and
one with full attention. A process opens the response graph, as an engine does, screens a text of 16
tokens and then one of 4,096: what its largest size grows by then is what the text adds. Each graph
has a process of its own in each of three rounds. Writes results/longtexts.json.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import torch

from benchmarks.processes import status_kb
from benchmarks.report import Row, Target, finish, show
from inference.runtime import response_contract
from inference.runtime.graph_rewrites import keep_outputs
from training.export.text import export_text_response
from training.models.encoder import MINILM, TextClassifier
from training.models.long_encoder import AttentionReach, LongTextClassifier

_TOKENS, _SHORT, _ROUNDS = 4096, 16, 3
_LESS = 0.35
_FULL, _WINDOWS = "full", "windows"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--screen", type=Path, help="a response graph, to be run here")
    graph = parser.parse_args().screen
    if graph is not None:
        print(json.dumps(screened(graph)))
        return
    torch.manual_seed(1)
    size = replace(MINILM, layers=2, positions=_TOKENS)
    encoders = {
        _FULL: TextClassifier(size, 2).eval(),
        _WINDOWS: LongTextClassifier(size, 2, AttentionReach()).eval(),
    }
    with TemporaryDirectory() as place:
        graphs = {way: Path(place) / f"{way}.onnx" for way in encoders}
        for way, encoder in encoders.items():
            data = export_text_response(encoder)
            kept = response_contract.LOGITS, response_contract.FEATURES
            graphs[way].write_bytes(keep_outputs(data, kept))
        found = [{way: _elsewhere(graph) for way, graph in graphs.items()} for _ in range(_ROUNDS)]
    rows = [{"way": way, **_medians([each[way] for each in found])} for way in encoders]
    show(rows)
    full, windows = rows
    less = 1 - windows["added_mb"] / full["added_mb"]
    name = f"what a text of {_TOKENS:,} tokens adds to a process that screens it: less by"
    finish("longtexts", rows, [Target(name, less, _LESS, least=True)], tokens=_TOKENS)


def screened(graph: Path) -> Row:
    """Screens both texts here: megabytes of the process before the long one, what that added, and
    its seconds of the processor.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    _screen(session, _SHORT)
    before, begun = _largest(), time.process_time()
    _screen(session, _TOKENS)
    seconds = time.process_time() - begun
    return {"before_mb": before, "added_mb": _largest() - before, "seconds": seconds}


def _screen(session: onnxruntime.InferenceSession, tokens: int) -> None:
    drawn = np.random.default_rng(1).integers(1000, 30000, (1, tokens))
    given = {
        response_contract.IDS: drawn,
        response_contract.MASK: np.ones_like(drawn),
        response_contract.LABEL: np.array([response_contract.OWN_PREDICTION]),
        response_contract.EPS: np.array(0.01, np.float32),
    }
    names = {each.name for each in session.get_inputs()}
    session.run(None, {name: value for name, value in given.items() if name in names})


def _largest() -> float:
    """In megabytes. `getrusage` would begin with what the process was a part of before."""
    return status_kb(os.getpid(), "VmHWM") * 1024 / 1e6


def _elsewhere(graph: Path) -> Row:
    command = [sys.executable, "-m", "benchmarks.long_texts", "--screen", str(graph)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: Row = json.loads(done.stdout.splitlines()[-1])
    return found


def _medians(runs: list[Row]) -> Row:
    return {name: median(run[name] for run in runs) for name in runs[0]}


if __name__ == "__main__":
    main()
