"""The demo's materials: small models and held-out data, committed beside it."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

Array = npt.NDArray[Any]

HERE = Path(__file__).parent
MODELS = HERE / "models"
DATA = HERE / "data"
# In the order of publishing: the hardened digits become version 1, the others version 2.
FOLDERS = {
    "digits-hardened": "digits",
    "digits-standard": "digits",
    "breast-cancer": "breast-cancer",
}
LIVE = {"digits": "digits-hardened", "breast-cancer": "breast-cancer"}
"""The folder of each model's version 1, which is attacked."""


def test_rows(model: str) -> Array:
    rows: Array = load_file(DATA / f"{model}.safetensors")["x_test"].astype(np.float32)
    return rows
