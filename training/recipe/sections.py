"""Sections of a recipe: steps, devices and the search for a student."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

from inference.runtime.providers import check_device
from inference.runtime.settings import CPU
from sealgate.settings import ConfigError

TRAIN, DISTIL, HARDEN, CERTIFY, QUANTIZE, PRIVATE = STEPS = (
    *("train", "distil", "harden", "certify", "quantize", "private"),
)
_EVERYWHERE = ("kind", "epochs", "batch", "learning_rate", "weight_decay")
_SETTINGS = {
    TRAIN: ("checkpointing", "bfloat16", "joined", "windows_each"),
    DISTIL: ("checkpointing", "bfloat16", "temperature", "weight", "hidden", "adaptive"),
    HARDEN: ("attack", "attack_steps", "shift", "turn", "smoothing"),
    CERTIFY: ("attack", "plain", "shift", "turn"),
    QUANTIZE: ("bits", "temperature", "weight"),
    PRIVATE: ("noise", "clip", "epsilon", "delta"),
}


@dataclass(frozen=True, slots=True)
class RecipeStep:
    """One step; which settings it has follows from its `kind`.

    train      on the labels alone; of windows also `joined` times as many rows, each of several in
               a row (`training.run.augmentation`); of each text at most `windows_each` windows as
               they are (0: all)
    distil     on the teacher's probabilities too: at `temperature`, weighing `weight` against the
               labels' 1 - weight; `hidden` weighs the distance to its hidden vectors; `adaptive`
               lets weight and temperature follow the student's gap
               both may multiply in `bfloat16`, which is faster where the processor does (AMX)
    harden     on the labels, of rows that PGD of `attack_steps` moves in every step, by up to
               `attack` (of the domain) in each place; every other image is shifted by up to `shift`
               pixels and turned by up to `turn` degrees before, labels are smoothed by `smoothing`
    certify    on the labels, of the worst that changes by up to `attack` in each place can do, by
               bounds of each layer; rows as they are weigh `plain` at last; images are varied as by
               `harden`
    quantize   with the rounding of INT8 in every step, `bits` to a weight (publishing leaves 7)
    private    with gradients clipped to `clip` and noise of `noise` clips (DP-SGD), until `epsilon`
               at `delta` is spent
    """

    kind: str
    epochs: int = 10
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    checkpointing: bool = False
    bfloat16: bool = False
    joined: float = 0.0
    windows_each: int = 0
    temperature: float = 2.0
    weight: float = 0.9
    hidden: float = 0.0
    adaptive: bool = False
    attack: float = 0.1
    attack_steps: int = 7
    shift: float = 0.0
    turn: float = 0.0
    smoothing: float = 0.0
    plain: float = 0.5
    bits: int = 7
    noise: float = 1.0
    clip: float = 1.0
    epsilon: float = 8.0
    delta: float = 1e-5

    def __post_init__(self) -> None:
        one_of("[steps] kind", self.kind, STEPS)
        known = (*_EVERYWHERE, *_SETTINGS[self.kind])
        for item in fields(self):
            if item.name not in known and getattr(self, item.name) != item.default:
                raise ConfigError(f"a step {self.kind!r} has no setting {item.name!r}")
        if self.weight > 1:
            raise ConfigError("[steps] weight is a share, at most 1")
        if not 2 <= self.bits <= 8:
            raise ConfigError("[steps] bits is 2 to 8")
        if self.delta >= 1:
            raise ConfigError("[steps] delta is a probability")
        if max(self.attack, self.smoothing, self.plain) > 1:
            raise ConfigError("[steps] attack, smoothing and plain are shares, at most 1")


def one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    """Raises ConfigError for a value that is not known."""
    if value not in known:
        raise ConfigError(f"{what} is one of {', '.join(name for name in known if name)}")


DATA, TENSOR = SPLITS = ("data", "tensor")


@dataclass(frozen=True, slots=True)
class DevicesSection:
    """The `device` on which a student is trained and a teacher asked: `cpu`, or a GPU as
    `inference.runtime.providers` names them. If it is not there, the recipe is refused, or, with
    `fallback`, followed on the CPU.

    `processes` of the CPU train together. `split` says what is dealt to them: the rows of each
    batch (`data`), or the weights of each layer (`tensor`).

    With `teacher_megabytes` (10^6 bytes), a checkpoint that teaches is spread layer by layer over
    the devices there are, with so much on each; what finds no room waits on disk until it is asked.
    """

    processes: int = 1
    split: str = DATA
    teacher_megabytes: float = 0.0
    device: str = CPU
    fallback: bool = False

    def __post_init__(self) -> None:
        check_device("devices", self.device, self.fallback)
        if self.device != CPU and self.processes > 1:
            raise ConfigError(f"[devices] processes share the CPU, not device = {self.device!r}")
        if self.split not in SPLITS:
            raise ConfigError(f"[devices] split is one of {', '.join(SPLITS)}")
        if self.split == TENSOR and self.processes == 1:
            raise ConfigError("[devices] split tensor needs processes")


_CHOICES = ("layers", "width", "heads", "vocabulary")


@dataclass(frozen=True, slots=True)
class SearchSection:
    """`trials` students are tried, each for `epochs` of the recipe's first step (0: all of them).

    The found one's serving graph and tokenizer have at most `megabytes` (10^6 bytes), and a row
    takes at most `milliseconds` of one core; at least one of the two is given. The lists are what
    is chosen from; a setting without a list stays the student's.
    """

    trials: int = 0
    epochs: int = 0
    megabytes: float = 0.0
    milliseconds: float = 0.0
    layers: tuple[int, ...] = ()
    width: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    vocabulary: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.trials:
            if any(getattr(self, item.name) for item in fields(self)):
                raise ConfigError("[search] needs trials")
            return
        if not self.megabytes and not self.milliseconds:
            raise ConfigError("[search] needs a budget: megabytes, milliseconds or both")
        if len(list(self.students())) < 2:
            raise ConfigError(f"[search] needs lists to choose from: {', '.join(_CHOICES)}")

    @property
    def choices(self) -> Mapping[str, tuple[int, ...]]:
        """The values to choose from, by the student's setting; each once, in order."""
        found = {name: tuple(sorted(set(getattr(self, name)))) for name in _CHOICES}
        return {name: values for name, values in found.items() if values}

    def students(self) -> Iterator[dict[str, Any]]:
        """The settings of every student of the space."""
        for values in product(*self.choices.values()):
            yield dict(zip(self.choices, values, strict=True))
