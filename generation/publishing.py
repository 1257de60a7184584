"""From a folder in Hugging Face's layout to a signed version of a language model.

Files are copied, hashed and sent in pieces; the weights are in memory once, while golden answers
and the screen's threshold are made of them.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import GenerationConfig

from generation.bom import ml_bom, provenance
from generation.decoder import Decoder, check_config
from generation.golden import TOKENS, GoldenAnswer, GoldenAnswers
from generation.surprise import WINDOW, calibrate, score
from inference.generation import (
    CONFIG,
    GOLDEN,
    OPTIONAL,
    TERMS,
    TOKENIZER,
    WEIGHTS,
    Asked,
    Sampling,
    Terms,
    check_paths,
)
from inference.model_config import Data
from publishing import evidence
from publishing.evidence import sign_evidence
from sealgate.reasons import Reason, Refusal
from sealgate.trust import oms
from sealgate.trust.keys import Signer, write_private_file
from sealgate.trust.manifest import FileEntry, Manifest
from sealgate.uploads import Package

_CHUNK = 1 << 20
_GOLDEN = 4
# No token of a prompt is read that a request could not have.
_LEAST_PROMPTS = _GOLDEN + 1


@dataclass(frozen=True, slots=True)
class About:
    """What a publisher says of a model; `prompt_tokens` and `output_tokens` bound requests."""

    name: str
    description: str
    intended_use: str
    data: Data
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Signing:
    """The publisher `maker`, the P-256 key that signs the files, and the key for the evidence."""

    maker: str
    files: Signer
    evidence: Signer


def build(
    folder: Path,
    prompts: Sequence[str],
    about: About,
    made: Path,
    signing: Signing,
    commitment: str,
    now: datetime,
) -> Package:
    """Make a version of the model in `folder`; its files are written to `made`, which must be new.

    The first prompts become golden answers, the others calibrate the screen.

    1. What a generator may have of the folder is copied, and weights are safetensors (FILE_MISSING,
       PATH_UNSAFE, CHECKPOINT_REFUSED).
    2. The model loads (CHECKPOINT_REFUSED), and has room for what may be asked
       (ENGINE_UNSUITABLE).
    3. Golden answers are generated, and the screen is calibrated (PROMPT_TOO_LONG, TENSOR_TEXT,
       CALIBRATION_TOO_SMALL).
    4. All files are hashed as they lie there, and signed with the evidence.
    """
    # 1.
    _copy(folder, made)
    # 2.
    decoder = Decoder.read(made)
    if about.prompt_tokens + about.output_tokens > decoder.positions:
        raise Refusal(Reason.ENGINE_UNSUITABLE, f"the model has {decoder.positions} positions")
    # 3.
    if len(prompts) < _LEAST_PROMPTS:
        raise Refusal(Reason.CALIBRATION_TOO_SMALL, f"{len(prompts)} prompts")
    cut = [_cut(decoder, prompt, about.prompt_tokens) for prompt in prompts]
    golden = GoldenAnswers(
        tuple(
            GoldenAnswer(prompt, tuple(ids), tuple(_greedy(decoder, ids)))
            for prompt, ids in zip(prompts[:_GOLDEN], cut, strict=False)
        )
    )
    screen = calibrate([score(decoder.model, ids, WINDOW) for ids in cut[_GOLDEN:]], WINDOW)
    terms = Terms(**{name: getattr(about, name) for name in About.__slots__}, screening=screen)
    write_private_file(made / TERMS, terms.encode())
    write_private_file(made / GOLDEN, golden.encode())
    # 4.
    paths = sorted(path for path in made.iterdir())
    check_paths(path.name for path in paths)
    manifest = Manifest(tuple(map(hash_file, paths)))
    bodies = _bodies(terms, golden, manifest, commitment, now)
    items = sign_evidence(bodies, manifest.digest, signing.maker, signing.evidence, now)
    return Package(
        model=about.name,
        manifest=manifest,
        signature=oms.sign(manifest, signing.files),
        evidence=[item.encode() for item in items],
        commitment=commitment,
        files={path.name: path for path in paths},
    )


def hash_file(path: Path) -> FileEntry:
    """A manifest's entry of a file, which is read in pieces."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileEntry(path.name, file.tell(), f"sha256:{digest}")


def _copy(folder: Path, made: Path) -> None:
    names = [CONFIG, TOKENIZER, *sorted(OPTIONAL), *_weights(folder)]
    made.mkdir(mode=0o700)
    for name in names:
        path = folder / name
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise Refusal(Reason.PATH_UNSAFE, f"{path} is not a plain file")
        if path.exists():
            shutil.copyfile(path, made / name)
        elif name not in OPTIONAL:
            raise Refusal(Reason.FILE_MISSING, str(path))
    check_config((made / CONFIG).read_bytes())


def _weights(folder: Path) -> Iterator[str]:
    found = sorted(entry.name for entry in folder.iterdir() if WEIGHTS.fullmatch(entry.name))
    if not found:
        raise Refusal(Reason.CHECKPOINT_REFUSED, f"{folder} has no model.safetensors")
    for name in found:
        try:
            with safe_open(folder / name, framework="numpy"):
                yield name
        except SafetensorError as error:
            raise Refusal(Reason.CHECKPOINT_REFUSED, f"{name} is not safetensors") from error


def _cut(decoder: Decoder, prompt: str, most: int) -> list[int]:
    return decoder.prompt_ids(Asked(prompt.encode(), False, Sampling(1)), most)


def _greedy(decoder: Decoder, ids: Sequence[int]) -> list[int]:
    """By plain `generate`, which what serves is held against."""
    settings = GenerationConfig(
        max_new_tokens=TOKENS,
        do_sample=False,
        eos_token_id=list(decoder.ends) or None,
        pad_token_id=0,
    )
    tokens = torch.tensor([list(ids)])
    with torch.inference_mode():
        found = decoder.model.generate(
            tokens, attention_mask=torch.ones_like(tokens), generation_config=settings
        )
    answer: list[int] = found[0, len(ids) :].tolist()
    return answer


def _bodies(
    terms: Terms, golden: GoldenAnswers, manifest: Manifest, commitment: str, now: datetime
) -> Mapping[str, Any]:
    """What is said of the version, by kind of evidence."""
    screen = terms.screening
    return {
        evidence.BUILD_PROVENANCE: provenance(manifest, now),
        evidence.ML_BOM: ml_bom(terms, manifest, now),
        evidence.FORMAT_SCAN: {
            "files": {
                entry.path: {"digest": entry.digest, "format": entry.path.rpartition(".")[2]}
                for entry in manifest.files
            }
        },
        evidence.GOLDEN_RUN: {
            "prompts": len(golden.answers),
            "tokens": sum(len(one.ids) for one in golden.answers),
            "generated": "greedily, by transformers' generate",
        },
        evidence.SCREENING_REPORT: {
            "measure": "highest mean surprise of a window of the prompt, in nats",
            "window": screen.window,
            "false_alarms_bound": screen.bound,
            "confidence": screen.confidence,
            "calibration_prompts": screen.prompts,
        },
        evidence.WATERMARK_CHECK: {
            "commitment": commitment,
            "marked": False,
            "why": "language models are not marked",
        },
    }
