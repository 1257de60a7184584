"""`make bench NAME=text`: short and long texts together, in buckets and all at one width.

The model is MiniLM with a head trained on e-mails (`training.demo.spam`), published as any version
is: marked, quantized, screened by its response graph. The engine's own `ReadyVersion` answers on
one thread, to callers who each wait for their answer: half of them ask short texts, half long ones.
Both ways are the same graphs; "one width" is the same `model.json` with the last bucket alone. They
take turns within each round, since machines drift. The texts are the test slice's tokens, written
out as words again. Writes results/text.json.
"""

import argparse
import itertools
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Spread
from benchmarks.report import Target, write_report
from inference.engine import ready_version
from inference.engine.engine import RequestOptions
from inference.model.config import ModelConfig
from inference.model.forms import form_of
from inference.model.golden import Golden
from inference.runtime.cpu import CpuSettings
from inference.text import tokens
from publishing.pipeline.files import StepTimer, make_files
from publishing.sandbox.confinement import Confinement
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder
from publishing.watermark.key import Mark, WatermarkKey
from registry.sandbox.confinement import SandboxLimits
from sealgate.trust.canonical import sha256

BUCKETS, ONE_WIDTH = "buckets", "one width"
SHORT, LONG = "short", "long"
_SHORT_TOKENS = 12
_KEY = bytes(32)
_WORKER_SECONDS = 7200


@dataclass(frozen=True, slots=True)
class Cell:
    """Answers a second, CPU-milliseconds an answer, and each kind's median wait in ms."""

    rate: float
    cpu_ms: float
    p50_ms: Mapping[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/bench/spam"))
    parser.add_argument("--seconds", type=float, default=20.0, help="of each way in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--callers", type=int, default=16)
    arguments = parser.parse_args()
    files = version_files(arguments.folder)
    asked = texts(files, Dataset.read(arguments.folder / "spam.safetensors"))
    ways = {
        BUCKETS: ready_version.ReadyVersion.build("", files, CpuSettings(1)),
        ONE_WIDTH: ready_version.ReadyVersion.build("", one_width(files), CpuSettings(1)),
    }
    cells: dict[str, list[Cell]] = {way: [] for way in ways}
    for _ in range(arguments.rounds):
        for way, ready in ways.items():
            cells[way].append(measure(ready, asked, arguments.callers, arguments.seconds))
    report(cells)


def version_files(folder: Path) -> dict[str, bytes]:
    """The version that publishing makes of what `training.demo.spam` wrote, kept for the next
    time.
    """
    kept = folder / "version"
    if not (kept / ready_version.GOLDEN).exists():
        source = SourceFolder.read(folder / "spam")
        steps = StepTimer(lambda: datetime.now(UTC), lambda step, detail: print(step, detail))
        made, _ = make_files(
            source,
            Dataset.read(folder / "spam.safetensors"),
            Mark(WatermarkKey(source.config.name, _KEY), bytes(4), sha256(source.serving)),
            0,
            steps,
            Confinement(SandboxLimits(seconds=_WORKER_SECONDS)),
        )
        kept.mkdir(exist_ok=True)
        for path, data in made.items():
            (kept / path).write_bytes(data)
    return {path.name: path.read_bytes() for path in kept.iterdir()}


def one_width(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The same version with its last bucket alone, and that one's golden answers."""
    config = ModelConfig.decode(files[ready_version.MODEL])
    if config.tokens is None:
        raise ValueError("the version takes no texts")
    rules = replace(config.tokens, buckets=config.tokens.buckets[-1:])
    widened = replace(config, tokens=rules)
    golden = Golden.decode(files[ready_version.GOLDEN], config)
    form = form_of(widened)
    session = ready_version.open_classifier(files[ready_version.INT8], config, 1)
    (logits,) = form.run(golden.x, lambda rows: tuple(session.run(form.serving(rows))))
    return {
        **files,
        ready_version.MODEL: widened.encode(),
        ready_version.GOLDEN: replace(golden, logits=logits).encode(),
    }


def texts(files: Mapping[str, bytes], data: Dataset) -> dict[str, list[bytes]]:
    """Short and long texts, from rows that are as long as any."""
    tokenizer = tokenizers.Tokenizer.from_str(files[ready_version.TOKENIZER].decode())
    full = data.test.x[tokens.lengths(data.test.x) == data.test.x.shape[1]]
    return {
        kind: [
            tokenizer.decode([int(each) for each in row[:size]], skip_special_tokens=True).encode()
            for row in full
        ]
        for kind, size in ((SHORT, _SHORT_TOKENS), (LONG, full.shape[1]))
    }


def measure(
    ready: ready_version.ReadyVersion,
    asked: Mapping[str, list[bytes]],
    callers: int,
    seconds: float,
) -> Cell:
    """Callers in a closed loop, half of each kind."""
    waits: dict[str, list[float]] = {kind: [] for kind in asked}
    end = time.monotonic() + seconds

    def call(kind: str, start: int) -> None:
        for text in itertools.islice(itertools.cycle(asked[kind]), start, None):
            began = time.monotonic()
            if began >= end:
                return
            ready.submit(np.array([text], object), RequestOptions(caller=f"{kind} {start}"))
            waits[kind].append(time.monotonic() - began)

    threads = [
        threading.Thread(target=call, args=((SHORT, LONG)[number % 2], number))
        for number in range(callers)
    ]
    began, used = time.monotonic(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, used = time.monotonic() - began, time.process_time() - used
    count = sum(map(len, waits.values()))
    p50 = {kind: float(np.median(found)) * 1e3 for kind, found in waits.items()}
    return Cell(count / took, used / count * 1e3, p50)


def report(cells: Mapping[str, list[Cell]]) -> None:
    rows: list[dict[str, Any]] = []
    table = Table("way", "answers/s", "CPU-ms", "p50 short, ms", "p50 long, ms")
    for way, found in cells.items():
        row: dict[str, Any] = {
            "way": way,
            "rate": Spread.of(cell.rate for cell in found),
            "cpu_ms": Spread.of(cell.cpu_ms for cell in found),
            **{
                f"p50_{kind}_ms": Spread.of(c.p50_ms[kind] for c in found) for kind in (SHORT, LONG)
            },
        }
        table.add_row(way, *(f"{row[name].median:.3g}" for name in list(row)[1:]))
        rows.append({"way": way, **{name: asdict(row[name]) for name in list(row)[1:]}})
    Console().print(table)
    gains = [a.rate / b.rate for a, b in zip(cells[BUCKETS], cells[ONE_WIDTH], strict=True)]
    target = Target("buckets over one width, answers a second", Spread.of(gains).median, 1.2, True)
    print(target.line())
    write_report("text", rows, [target])


if __name__ == "__main__":
    main()
