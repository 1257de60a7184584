"""Federated recipes for tests: few rounds on digits."""

from pathlib import Path

HEAD = """
[model]
name = "digits"
description = "A small network that reads digits."
intended_use = "Tests."

[run]
seed = 3

[data]
source = "digits"
train = 900
fit = 200
calibration = 200
"""
PERCEPTRON = '[student]\nkind = "perceptron"\nwidth = 32\nlayers = 2\n'
FEDERATED = "[federated]\nrounds = 2\nepochs = 2\n"
PRIVATE = "[private]\nepsilon = 8.0\ndelta = 1e-3\nnoise = 1.0\n"


def written(folder: Path, *parts: str, name: str = "federated.toml") -> Path:
    """A recipe's file; without parts, nine clients and two rounds."""
    path = folder / name
    path.write_text("\n".join((HEAD, *(parts or (PERCEPTRON, FEDERATED)))))
    return path
