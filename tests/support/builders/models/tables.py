"""The demo's tumours as a table whose columns are declared: areas are whole numbers, radii have a
range, and the ten errors of measurement are on record.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from inference.model.columns import Column, RowRules
from inference.model.config import ModelConfig
from publishing.source.folder import CONFIG, RESPONSE, SERVING

DEMO = Path(__file__).parents[4] / "demo"
SOURCE, DATA = DEMO / "models" / "breast-cancer", DEMO / "data" / "breast-cancer.safetensors"
RADIUS, AREA, ERRORS = 0, 3, slice(10, 20)
SLICES = ("fit", "calibration", "test")


def config() -> ModelConfig:
    columns = [Column(f"column {at}", immutable=10 <= at < 20) for at in range(30)]
    columns[RADIUS] = Column("mean radius", min=8, max=24)
    columns[AREA] = Column("mean area", step=10)
    plain = ModelConfig.read((SOURCE / CONFIG).read_bytes())
    return replace(plain, columns=tuple(columns))


def table() -> RowRules:
    found = config().table
    assert found is not None
    return found


def rows(name: str) -> np.ndarray:
    """A slice, as it could be sent: areas rounded to whole tens, radii cut off."""
    x = load_file(DATA)[f"x_{name}"].astype(np.float32)
    columns = table()
    steps = np.where(columns.whole > 0, columns.whole, 1)
    near = columns.zero + np.rint((x - columns.zero) / steps) * steps
    found = np.where(columns.whole > 0, near, x)
    return np.clip(found, columns.low, columns.high).astype(np.float32)


def write(folder: Path) -> tuple[Path, Path]:
    """A folder to publish, and the data for it."""
    source, data = folder / "tumours", folder / "tumours.safetensors"
    source.mkdir()
    for name in (SERVING, RESPONSE):
        (source / name).write_bytes((SOURCE / name).read_bytes())
    (source / CONFIG).write_bytes(config().encode())
    tensors = load_file(DATA)
    save_file({**tensors, **{f"x_{name}": rows(name) for name in SLICES}}, data)
    return source, data
