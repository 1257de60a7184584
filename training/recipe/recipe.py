"""A recipe: one TOML file that describes how a model is made; see docs/how-to/training.md.

    [model]     what `model.json` will say
    [run]       the seed, and how often a checkpoint is written
    [data]      where rows come from, and how they are divided
    [teacher]   the teacher; optional
    [student]   what is trained
    [search]    the students among which a small one is searched; optional
    [devices]   on which device, and over how many processes; optional
    [[steps]]   the training steps, in this order
    [alarms]    which class is looked for, and its rate of false alarms; optional

Unknown names are refused, so that no setting is ignored silently.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from inference.runtime.settings import CPU
from inference.text.tokens import doubled
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError, read_settings
from training.recipe.sections import (
    CERTIFY,
    DISTIL,
    HARDEN,
    PRIVATE,
    QUANTIZE,
    TRAIN,
    DevicesSection,
    RecipeStep,
    SearchSection,
    one_of,
)

TABLE, SPAM, TEXTS, PROSE, DIGITS, FASHION = SOURCES = (
    "table",
    "spam-assassin",
    "texts",
    "prose",
    "digits",
    "fashion-mnist",
)
OF_TEXT = (SPAM, TEXTS)
OF_IMAGES = (DIGITS, FASHION)
NOBODY, CHECKPOINT, GRAPH, BOOSTING, NEIGHBOURS = TEACHERS = (
    *("", "checkpoint", "graph", "boosting", "neighbours"),
)
PERCEPTRON, CONVOLUTION, ENCODER, DECODER = STUDENTS = (
    *("perceptron", "convolution", "encoder", "decoder"),
)
FULL, WINDOW = ATTENTIONS = ("full", "window")
_WHOLE, _BLOCK = 2048, 128
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class ModelSection:
    """`eps` is the step of screening, in units of the rows, or of word embeddings."""

    name: str
    description: str
    intended_use: str
    eps: float = 0.03


@dataclass(frozen=True, slots=True)
class RunSection:
    """`checkpoint_steps`: after how many steps the run is written down, to go on from there."""

    seed: int = 1
    checkpoint_steps: int = 200

    def __post_init__(self) -> None:
        # Libraries take seeds of 32 bits.
        if self.seed >= 1 << 32:
            raise ConfigError("[run] seed must be below 2^32")


@dataclass(frozen=True, slots=True)
class SliceSizes:
    """How many rows each slice gets; the rest is the test slice.

    Only the first `labels` rows of the `train` slice keep their labels (0: all). A table is a CSV
    file whose column `label` is the class; `columns` are those that are read, if not all. Where
    some are `whole`, of whole numbers, or `immutable` to callers, `model.json` states what all of
    them hold. Texts are cut by `tokenizer`, into at most `tokens`; prose is a text file, in rows of
    so many. With `windows` a long text is several rows, as `inference.text.text_windows` cuts it,
    and slices have texts.
    """

    source: str
    train: int
    fit: int
    calibration: int
    labels: int = 0
    path: Path | None = None
    label: str = "label"
    columns: tuple[str, ...] = ()
    title: str = ""
    license: str = ""
    tokenizer: Path | None = None
    tokens: int = 64
    whole: tuple[str, ...] = ()
    immutable: tuple[str, ...] = ()
    windows: bool = False

    def __post_init__(self) -> None:
        one_of("[data] source", self.source, SOURCES)
        if (self.whole or self.immutable) and self.source != TABLE:
            raise ConfigError("[data] only a table can have whole or immutable columns")
        if self.label in self.columns:
            raise ConfigError("[data] the label cannot be one of the columns")
        if len(set(self.columns)) < len(self.columns):
            raise ConfigError("[data] columns name one twice")
        if self.labels > self.train:
            raise ConfigError("[data] labels cannot be more than train")
        if self.source in (TABLE, SPAM, TEXTS, PROSE) and self.path is None:
            raise ConfigError(f"[data] a {self.source} needs a path")
        if self.windows and self.source not in OF_TEXT:
            raise ConfigError("[data] only texts are read in windows")

    @property
    def place(self) -> Path:
        """The path, of a source that has one."""
        return self.path or Path()


@dataclass(frozen=True, slots=True)
class TeacherSection:
    """`checkpoint`: a folder that `sealgate import` made; `graph`: a folder that `sealgate train`
    made; `boosting`: trees boosted on the labelled rows, and `neighbours`: their labels spread to
    the rows that lie near, labelled or not (both scikit-learn).
    """

    kind: str = NOBODY
    path: Path | None = None

    def __post_init__(self) -> None:
        one_of("[teacher] kind", self.kind, TEACHERS)
        if (self.kind in (CHECKPOINT, GRAPH)) != (self.path is not None):
            raise ConfigError("[teacher] only a checkpoint or graph can have a path")


@dataclass(frozen=True, slots=True)
class StudentSection:
    """A network of `layers` layers of `width`; an encoder starts from `path` where one is given, a
    folder that `sealgate import` made, and is then of that one's size, or has only its
    `first_layers` (0: all). Else `vocabulary` is how many of the tokens, the most frequent in the
    train slice, keep an embedding of their own (0: all).

    With `attention` "window" an encoder reads texts of up to `whole` tokens as ever, and in longer
    ones each token attends to its `block`, those beside it and the first token.

    With `strides` a convolution halves images by convolutions of stride 2 instead of maxima.
    """

    kind: str
    width: int = 64
    layers: int = 2
    heads: int = 2
    vocabulary: int = 0
    path: Path | None = None
    first_layers: int = 0
    attention: str = FULL
    whole: int = _WHOLE
    block: int = _BLOCK
    strides: bool = False

    def __post_init__(self) -> None:
        one_of("[student] kind", self.kind, STUDENTS)
        one_of("[student] attention", self.attention, ATTENTIONS)
        if self.attention == WINDOW and self.kind != ENCODER:
            raise ConfigError("[student] only an encoder can attend in windows")
        if self.attention == FULL and (self.whole, self.block) != (_WHOLE, _BLOCK):
            raise ConfigError("[student] whole and block need windows")
        if self.path is not None and self.kind != ENCODER:
            raise ConfigError("[student] only an encoder can start from a path")
        if self.first_layers < 0 or (self.first_layers and self.path is None):
            raise ConfigError("[student] first_layers are those of the encoder at a path")
        if self.vocabulary and (self.kind != ENCODER or self.path is not None):
            raise ConfigError("[student] only an encoder without a path can have a vocabulary")
        if self.strides and self.kind != CONVOLUTION:
            raise ConfigError("[student] only a convolution can have strides")
        if self.kind == ENCODER and self.width % self.heads:
            raise ConfigError("[student] width must be a multiple of heads")
        # Positions turn pairs of a head's numbers.
        if self.kind == DECODER and self.width % (2 * self.heads):
            raise ConfigError("[student] a decoder's width must be a multiple of twice its heads")


@dataclass(frozen=True, slots=True)
class AlarmsSection:
    """`label` is a class that is looked for: its bias is moved, so that on the calibration slice no
    more than `bound` of the others are called it, with `confidence`, a text that is read in windows
    for any of these. Without one, nothing is moved. `lengths`: the numbers of
    windows at which classes of length begin, each with a threshold of its own
    (`training.run.lengths`); in the classes of long texts at most `long_bound` are called it (0:
    `bound`).
    """

    label: str = ""
    bound: float = 0.01
    confidence: float = 0.9
    long_bound: float = 0.0
    lengths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if max(self.bound, self.confidence, self.long_bound) >= 1:
            raise ConfigError("[alarms] bounds and confidence are shares, below 1")
        if self.long_bound and not self.lengths:
            raise ConfigError("[alarms] long_bound needs lengths")
        if list(self.lengths) != sorted({*self.lengths}) or min(self.lengths, default=2) < 2:
            raise ConfigError("[alarms] lengths ascend, from 2 windows on")


@dataclass(frozen=True, slots=True)
class Recipe:
    """The whole file, checked. Raises ConfigError."""

    model: ModelSection
    run: RunSection
    data: SliceSizes
    teacher: TeacherSection
    student: StudentSection
    steps: tuple[RecipeStep, ...]
    search: SearchSection = field(default_factory=SearchSection)
    alarms: AlarmsSection = AlarmsSection()
    devices: DevicesSection = field(default_factory=DevicesSection)

    def __post_init__(self) -> None:
        kinds = [step.kind for step in self.steps]
        if not kinds:
            raise ConfigError("a recipe needs [[steps]]")
        if (DISTIL in kinds) != (self.teacher.kind != NOBODY):
            raise ConfigError(
                "a step distil needs a [teacher], and a [teacher] needs a step distil"
            )
        if QUANTIZE in kinds and (len(kinds) == 1 or kinds.index(QUANTIZE) != len(kinds) - 1):
            raise ConfigError("the step quantize is the last, after another")
        # The privacy bound would not cover another step on the same rows.
        if PRIVATE in kinds and len(kinds) > 1:
            raise ConfigError("a private step must be the only one")
        if (self.data.source in OF_TEXT) != (self.student.kind == ENCODER):
            raise ConfigError("texts are for an encoder, and an encoder needs texts")
        if self.student.kind == CONVOLUTION and self.data.source not in OF_IMAGES:
            raise ConfigError(f"a convolution takes images: {', '.join(OF_IMAGES)}")
        if self.student.kind == ENCODER and {PRIVATE, HARDEN, CERTIFY}.intersection(kinds):
            detail = "a step private, harden or certify needs a perceptron or a convolution"
            raise ConfigError(detail)
        varied = any(step.shift or step.turn for step in self.steps)
        if varied and self.data.source not in OF_IMAGES:
            raise ConfigError("a step can shift and rotate only images")
        if (self.data.source == PROSE) != (self.student.kind == DECODER):
            raise ConfigError("prose is for a decoder, and a decoder needs prose")
        if self.student.kind == DECODER:
            self._check_decoder()
        if self.data.windows and not self.alarms.label:
            raise ConfigError("[data] windows need [alarms]")
        if self.alarms.lengths and not self.data.windows:
            raise ConfigError("[alarms] lengths need [data] windows")
        if any(step.joined for step in self.steps) and not self.data.windows:
            raise ConfigError("a step can join only [data] windows")
        if any(step.windows_each and not step.joined for step in self.steps):
            raise ConfigError("a step has windows_each only where it has joined")
        if self.search.trials:
            self._check_search(kinds)
        self._check_devices(kinds)
        if self.student.attention == WINDOW:
            self._check_windows(kinds)

    def _check_windows(self, kinds: list[str]) -> None:
        # Else a text that is filled up would reach less far than it did in training.
        if self.student.whole not in doubled(self.data.tokens)[:-1]:
            raise ConfigError(
                "[student] whole must be a power of two from 16, and less than [data] tokens"
            )
        if QUANTIZE in kinds or self.devices.processes > 1:
            raise ConfigError("windows need a single process and no quantization step")

    def _check_devices(self, kinds: list[str]) -> None:
        if self.devices.teacher_megabytes and self.teacher.kind != CHECKPOINT:
            raise ConfigError("[devices] only a checkpoint can be spread as teacher")
        on_one = DevicesSection(device=self.devices.device, fallback=self.devices.fallback)
        if self.devices != on_one and self.student.kind == DECODER:
            raise ConfigError("[devices] a decoder and its teacher cannot be spread")
        # Its noise is of the system's entropy, which only the CPU's generator takes.
        if self.devices.device != CPU and PRIVATE in kinds:
            raise ConfigError("[devices] a private step needs the CPU")
        if self.devices.processes > 1 and not {TRAIN, DISTIL}.issuperset(kinds):
            raise ConfigError("[devices] processes can share only the steps train and distil")

    def _check_decoder(self) -> None:
        if any(step.kind not in (TRAIN, DISTIL) or step.checkpointing for step in self.steps):
            raise ConfigError("a decoder's steps are train and distil, without checkpointing")
        if self.teacher.kind not in (NOBODY, CHECKPOINT):
            raise ConfigError("a decoder's teacher is a checkpoint")
        if self.data.labels or self.search.trials:
            raise ConfigError("a decoder has no labels, and cannot be searched for")
        if self.data.tokens < 2:
            raise ConfigError("[data] a row of prose has two tokens or more")

    def _check_search(self, kinds: list[str]) -> None:
        # Every trial learns from the rows: no budget would hold.
        if PRIVATE in kinds:
            raise ConfigError("[search] cannot be combined with a private step")
        if self.student.path is not None:
            raise ConfigError("[search] does not change an encoder that starts from a path")
        if self.student.kind != ENCODER and "heads" in self.search.choices:
            raise ConfigError("[search] only an encoder has heads")
        # Each must be one that a recipe could name.
        for settings in self.search.students():
            replace(self.student, **settings)

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        """Raises SealgateError(RECIPE_INVALID) with what to change."""
        return read_recipe(path, cls)


def read_recipe(path: Path, kind: type[_R]) -> _R:
    """Return the recipe of that kind in a file. Raises SealgateError(RECIPE_INVALID)."""
    if not path.is_file():
        raise SealgateError(Reason.RECIPE_INVALID, f"{path} is not a file")
    try:
        return read_settings(path, kind)
    except ConfigError as error:
        raise SealgateError(Reason.RECIPE_INVALID, str(error)) from error
