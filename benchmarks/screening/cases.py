"""Models on which the two stages of screening are measured: as `sealgate model publish` takes them.

They are quantized, and nothing is marked: a mark moves no figure here.
"""

from dataclasses import dataclass
from pathlib import Path

from inference.engine.graphs import counted, open_response
from inference.model.config import ModelConfig
from inference.model.forms import form_of
from publishing.data import Dataset
from publishing.forward import Classifier, ResponseGraph
from publishing.probe import Array, Probe
from publishing.quantize import quantize
from publishing.served import Walker
from publishing.source import SourceFolder
from publishing.stages import Graphs
from publishing.text_probe import TextProbe
from publishing.vectors import Vectors


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A model, what attacks and measures it, and its slices."""

    title: str
    source: SourceFolder
    prober: Walker
    vectors: Vectors
    graphs: Graphs
    fit: Array
    calibration: Array
    test: Array

    @property
    def config(self) -> ModelConfig:
        return self.source.config

    @classmethod
    def read(cls, title: str, folder: Path, data: Path, rows: tuple[int, int, int]) -> "Case":
        """At most so many rows of each slice."""
        source, slices = SourceFolder.read(folder), Dataset.read(data)
        config = source.config
        fit, calibration, test = (
            part.x[:most]
            for part, most in zip((slices.fit, slices.calibration, slices.test), rows, strict=True)
        )
        int8 = quantize(source.serving, config.input.name, fit)
        prober: Walker = Probe.of(ResponseGraph.of(source.response), config)
        if config.tokens is not None:
            prober = TextProbe.of(source.response, config, config.tokens, fit)
        graphs = Graphs(
            Classifier.of(int8, config).session,
            Classifier.of(source.serving, config).session,
            open_response(source.response, 1)[1],
            form_of(config),
        )
        words = counted(source.response, config)
        vectors = Vectors.of(int8, source.serving, config, words)
        return cls(title, source, prober, vectors, graphs, fit, calibration, test)
