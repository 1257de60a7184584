"""Models on which the two stages of screening are measured: as `sealgate model publish` takes them.

They are quantized, and nothing is marked: a mark moves no figure here.
"""

from dataclasses import dataclass
from pathlib import Path

from inference.engine.graphs import counted, open_response
from inference.model.config import ModelConfig
from inference.model.forms import form_of
from publishing.calibration.first_stage_choice import TimedGraphs
from publishing.calibration.probe import Array, Probe
from publishing.calibration.served_rows import BorderProber, ServedVectors
from publishing.calibration.text_probe import TextProbe
from publishing.quantization import quantize
from publishing.sandbox.forward import ResponseGraph, ServingGraph
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A model, what attacks and measures it, and its slices."""

    title: str
    source: SourceFolder
    prober: BorderProber
    vectors: ServedVectors
    graphs: TimedGraphs
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
        prober: BorderProber = Probe.of(ResponseGraph.of(source.response), config)
        if config.tokens is not None:
            prober = TextProbe.of(source.response, config, config.tokens, fit)
        graphs = TimedGraphs(
            ServingGraph.of(int8, config).session,
            ServingGraph.of(source.serving, config).session,
            open_response(source.response, 1)[1],
            form_of(config),
        )
        words = counted(source.response, config)
        vectors = ServedVectors.of(int8, source.serving, config, words)
        return cls(title, source, prober, vectors, graphs, fit, calibration, test)
