"""Rows of numbers from a person's file."""

from pathlib import Path
from typing import Any

import click
import numpy as np

Rows = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def read_rows(file: Path) -> Rows:
    """The rows of a .npy file, or of a .csv without a header, as float32 [n, …].

    Raises click.ClickException for anything else.
    """
    try:
        rows: Any
        if file.suffix == ".npy":
            rows = np.load(file, allow_pickle=False)
        else:
            lines = [line.split(",") for line in file.read_text().splitlines() if line.strip()]
            if len({len(line) for line in lines}) > 1:
                raise ValueError("its rows differ in length")
            rows = np.array([[float(item) for item in line] for line in lines])
    except (ValueError, EOFError) as error:
        # numpy takes whatever it cannot read for a pickle, and says how to load that.
        text = "it is not a .npy file" if file.suffix == ".npy" else str(error)
        raise click.ClickException(f"{file} does not hold rows of numbers: {text}") from error
    if not rows.size:
        raise click.ClickException(f"{file} holds no rows")
    return np.atleast_2d(rows).astype(np.float32)
