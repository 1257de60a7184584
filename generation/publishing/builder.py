"""Builds a signed version of a language model from a folder in Hugging Face's layout.

Files are copied, marked, hashed and sent in pieces; one copy of the model is in memory at a time.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from safetensors import SafetensorError, safe_open

from generation.models.architectures import Said
from generation.models.decoder import LanguageModel
from generation.models.folder import TOKENS, GoldenAnswer, GoldenAnswers, check_config
from generation.publishing.evidence import GeneratorFindings, Perplexities
from generation.publishing.prompt_screen import calibrated_screen
from generation.publishing.watermark import (
    LARGEST_LOSS,
    CommittedMark,
    MarkedWeights,
    mark_weights,
    perplexity_loss,
    unmarked_digest,
)
from generation.publishing.window_choice import WindowFindings, WindowOptions, choose, long_texts
from inference.llm.request import Sampling, SamplingRequest
from inference.llm.terms import (
    CONFIG,
    FLOAT32,
    GOLDEN,
    OPTIONAL,
    TERMS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WEIGHTS,
    GeneratorTerms,
    check_paths,
)
from inference.model.config import TrainingDataInfo
from publishing.evidence.signing import sign_evidence
from publishing.watermark import MarkRecord
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.uploads import Package
from sealgate.trust.keys import Signer, write_private_file
from sealgate.trust.statements import FileEntry, Manifest, oms

_TEMPLATE, _LARGEST_TEMPLATE = "chat_template.jinja", 1 << 20
_GOLDEN = 4
# A mark's cost depends on key and payload: a tiny decoder's went from -0.2% to 0.3% over forty.
_DRAWS = 8
# No token of a prompt is read that a request could not have.
_LEAST_PROMPTS = _GOLDEN + 1


@dataclass(frozen=True, slots=True)
class GeneratorDescription:
    """The publisher's description of a model; `prompt_tokens` and `output_tokens` bound requests,
    and `precision` is as for `GeneratorTerms`.
    """

    name: str
    description: str
    intended_use: str
    data: TrainingDataInfo
    prompt_tokens: int
    output_tokens: int
    precision: str = FLOAT32


@dataclass(frozen=True, slots=True)
class GeneratorKeys:
    """The publisher `maker`, the P-256 key that signs the files, and the key for the evidence."""

    maker: str
    files: Signer
    evidence: Signer


@dataclass(frozen=True, slots=True)
class BuiltGenerator:
    """The package for the registry, the publisher's record of the mark, and whether the model
    answers chats.
    """

    package: Package
    mark: MarkRecord
    findings: GeneratorFindings
    writes_chats: bool


def build(
    folder: Path,
    prompts: Sequence[str],
    about: GeneratorDescription,
    made: Path,
    signing: GeneratorKeys,
    commit: Callable[[str], CommittedMark],
    now: datetime,
    largest_loss: float = LARGEST_LOSS,
    windows: WindowOptions | None = None,
) -> BuiltGenerator:
    """Make a version of the model in `folder`; its files are written to `made`, which must be new.

    The first prompts become golden answers, the others calibrate the screen, if the model measures
    prompts. `commit` is given the digest of the weights before they are marked. With `windows` the
    version has attention windows.

    1. The files that a generator may have are copied, and weights are safetensors (FILE_MISSING,
       PATH_UNSAFE, CHECKPOINT_REFUSED). The model loads (CHECKPOINT_REFUSED), and its context is
       long enough for the largest request (ENGINE_UNSUITABLE). Prompts are enough, and short enough
       (CALIBRATION_TOO_SMALL, PROMPT_TOO_LONG, TENSOR_TEXT); so are the texts for windows.
    2. The mark is committed to, then written (FORMAT_REFUSED, WATERMARK_CAPACITY); it is read in
       what is stored and in INT8 (WATERMARK_FAINT). Where perplexity grows by more than
       `largest_loss`, another mark is drawn and committed to, up to seven times (WATERMARK_COST).
    3. Windows are chosen on the marked weights (ATTENTION_COST); with them golden answers are
       generated, and the screen is calibrated (CALIBRATION_TOO_SMALL).
    4. All files are hashed as they lie there, and signed with the evidence.
    """
    # 1.
    plain = made.with_name(f"{made.name}-unmarked")
    copy_files(folder, plain)
    cut, said, before = _unmarked(plain, prompts, about, windows)
    # 2.
    marked, after = _mark(
        plain, made, commit, lambda: _perplexity(made, said), before, largest_loss
    )
    # 3.
    decoder, served, chosen = _served(made, about, said, after, windows)
    told = Perplexities(sum(len(ids) for _, ids in said), before, after, served)
    golden = _golden(decoder, prompts[:_GOLDEN], cut)
    screen = calibrated_screen(decoder, prompts[_GOLDEN:], cut[_GOLDEN:], about.prompt_tokens)
    terms = GeneratorTerms(
        **{name: getattr(about, name) for name in GeneratorDescription.__slots__},
        screening=screen,
        attention=None if chosen is None else chosen.attention,
    )
    # 4.
    findings = GeneratorFindings(terms, decoder.task, golden, marked, told, chosen)
    package = _sign(made, findings, signing, now)
    return BuiltGenerator(
        package, marked.record(package.manifest.digest), findings, decoder.writes_chats
    )


def _golden(
    decoder: LanguageModel, prompts: Sequence[str], cut: Sequence[Sequence[int]]
) -> GoldenAnswers:
    answers = [
        GoldenAnswer(prompt, tuple(ids), tuple(decoder.greedy(list(ids), TOKENS)))
        for prompt, ids in zip(prompts, cut, strict=False)
    ]
    return GoldenAnswers(tuple(answers))


def _mark(
    plain: Path,
    made: Path,
    commit: Callable[[str], CommittedMark],
    measure: Callable[[], float],
    before: float,
    largest_loss: float,
) -> tuple[MarkedWeights, float]:
    """Moves all of `plain` to `made`, a new folder, and the weights with the first mark in them
    that costs no more than it may; with it, what perplexity has become.
    """
    names = [*_weights(plain)]
    unmarked = unmarked_digest([hash_file(plain / name) for name in names])
    made.mkdir(mode=0o700)
    for path in plain.iterdir():
        if path.name not in names:
            path.rename(made / path.name)
    losses = []
    for _ in range(_DRAWS):
        marked = mark_weights(plain, made, names, commit(unmarked))
        after = measure()
        losses.append(perplexity_loss(before, after))
        if losses[-1] <= largest_loss:
            shutil.rmtree(plain)
            return marked, after
        for name in names:
            (made / name).unlink()
    detail = f"perplexity grows by {min(losses):.2%} or more, {largest_loss:.2%} may be"
    raise SealgateError(Reason.WATERMARK_COST, f"{detail}; {_DRAWS} marks were tried")


def _perplexity(made: Path, said: Sequence[Said]) -> float:
    return LanguageModel.read(made).perplexity(said)


def _served(
    made: Path,
    about: GeneratorDescription,
    said: Sequence[Said],
    after: float,
    windows: WindowOptions | None,
) -> tuple[LanguageModel, float, WindowFindings | None]:
    """The marked model as it answers, its perplexity then, and how its windows were chosen. In
    float32 without windows, `after` is that perplexity.
    """
    decoder = LanguageModel.read(made, about.precision)
    longest = about.prompt_tokens + about.output_tokens
    found = None if windows is None else choose(decoder, windows, longest)
    is_same = about.precision == FLOAT32 and found is None
    return decoder, after if is_same else decoder.perplexity(said), found


def _sign(
    made: Path, findings: GeneratorFindings, signing: GeneratorKeys, now: datetime
) -> Package:
    write_private_file(made / TERMS, findings.terms.encode())
    write_private_file(made / GOLDEN, findings.golden.encode())
    paths = sorted(made.iterdir())
    check_paths(path.name for path in paths)
    manifest = Manifest(tuple(map(hash_file, paths)))
    bodies = findings.bodies(manifest, now)
    items = sign_evidence(bodies, manifest.digest, signing.maker, signing.evidence, now)
    return Package(
        model=findings.terms.name,
        manifest=manifest,
        signature=oms.sign(manifest, signing.files),
        evidence=[item.encode() for item in items],
        commitment=findings.marked.committed.mark.commitment,
        files={path.name: path for path in paths},
    )


def _unmarked(
    plain: Path,
    prompts: Sequence[str],
    about: GeneratorDescription,
    windows: WindowOptions | None,
) -> tuple[list[list[int]], list[Said], float]:
    """The prompts' ids, and of what perplexity is measured with what it is to the model as it
    came.
    """
    decoder = LanguageModel.read(plain)
    if about.prompt_tokens + about.output_tokens > decoder.positions:
        raise SealgateError(
            Reason.ENGINE_UNSUITABLE, f"the model has {decoder.positions} positions"
        )
    if len(prompts) < _LEAST_PROMPTS:
        raise SealgateError(Reason.CALIBRATION_TOO_SMALL, f"{len(prompts)} prompts")
    cut = [_cut(decoder, prompt, about.prompt_tokens) for prompt in prompts]
    if not any(len(ids) > 1 for ids in cut):
        raise SealgateError(Reason.CALIBRATION_TOO_SMALL, "prompts of one token each")
    if windows is not None:
        long_texts(decoder, windows.texts, about.prompt_tokens + about.output_tokens)
    said = decoder.material(cut)
    return cut, said, decoder.perplexity(said)


def hash_file(path: Path) -> FileEntry:
    """A manifest's entry of a file, which is read in pieces."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileEntry(path.name, file.tell(), f"sha256:{digest}")


def copy_files(folder: Path, made: Path) -> None:
    names = [CONFIG, TOKENIZER, *sorted(OPTIONAL), *_weights(folder)]
    made.mkdir(mode=0o700)
    for name in names:
        path = folder / name
        if _is_there(path):
            shutil.copyfile(path, made / name)
        elif name not in OPTIONAL:
            raise SealgateError(Reason.FILE_MISSING, str(path))
    check_config((made / CONFIG).read_bytes())
    if _is_there(folder / _TEMPLATE):
        _put_template(folder / _TEMPLATE, made / TOKENIZER_CONFIG)


def _is_there(path: Path) -> bool:
    """Raises: PATH_UNSAFE."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise SealgateError(Reason.PATH_UNSAFE, f"{path} is not a plain file")
    return path.exists()


def _put_template(template: Path, config: Path) -> None:
    """Newer folders have the chat template in a file of its own, which goes before any other. It is
    put where older ones have it. Raises: FILE_TOO_LARGE, CHECKPOINT_REFUSED.
    """
    if template.stat().st_size > _LARGEST_TEMPLATE:
        raise SealgateError(Reason.FILE_TOO_LARGE, str(template))
    try:
        described = json.loads(config.read_bytes()) if config.exists() else {}
        described["chat_template"] = template.read_text("utf-8")
    except (ValueError, TypeError, RecursionError) as error:
        raise SealgateError(Reason.CHECKPOINT_REFUSED, f"{template}: {error}") from error
    # In ASCII, which has half of a surrogate pair too, should one be there.
    config.write_text(json.dumps(described), "ascii")


def _weights(folder: Path) -> Iterator[str]:
    found = sorted(entry.name for entry in folder.iterdir() if WEIGHTS.fullmatch(entry.name))
    if not found:
        raise SealgateError(Reason.CHECKPOINT_REFUSED, f"{folder} has no model.safetensors")
    for name in found:
        try:
            with safe_open(folder / name, framework="numpy"):
                yield name
        except SafetensorError as error:
            raise SealgateError(Reason.CHECKPOINT_REFUSED, f"{name} is not safetensors") from error


def _cut(decoder: LanguageModel, prompt: str, most: int) -> list[int]:
    return decoder.prompt_ids(SamplingRequest(prompt.encode(), False, Sampling(1)), most)
