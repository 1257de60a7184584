"""The section `[devices]` of a recipe: over how many processes, or devices, a run is spread."""

from dataclasses import dataclass

from sealgate.settings import ConfigError

DATA, TENSOR = SPLITS = ("data", "tensor")


@dataclass(frozen=True, slots=True)
class Devices:
    """`processes` train together. `split` says what is dealt to them: the rows of each batch
    (`data`), or the weights of each layer (`tensor`).

    With `teacher_megabytes` (10^6 bytes), a checkpoint that teaches is spread layer by layer over
    the devices there are, with so much on each; what finds no room waits on disk until it is asked.
    """

    processes: int = 1
    split: str = DATA
    teacher_megabytes: float = 0.0

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(f"[devices] split is one of {', '.join(SPLITS)}")
        if self.split == TENSOR and self.processes == 1:
            raise ConfigError("[devices] split tensor needs processes")
