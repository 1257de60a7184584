"""All weights of a network as one vector [n], and its file: what server and clients exchange."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save

from training.storage import write_whole

Weights = npt.NDArray[np.float32]
_NAME = "weights"


def read_weights(path: Path) -> Weights:
    return np.asarray(load_file(path)[_NAME], np.float32)


def write_weights(path: Path, weights: Weights) -> None:
    """Raises STORAGE_FULL."""
    write_whole(path, save({_NAME: weights}))
