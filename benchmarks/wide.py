"""The wide perceptron that `load` and `gpu` measure with.

At batch 1 its time goes into reading weights, which is where batches pay on a processor. On the
demo's small models Python is the limit; a row of an INT8 MiniLM costs the same in a batch.
"""

import logging
from dataclasses import replace
from pathlib import Path

import torch

from demo import datasets
from demo.materials import DATA
from demo.train_models import DemoModel, MlpRecipe, write_model
from inference.batching.limits import Batching
from inference.engine import version_contents
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder
from publishing.worker_tasks import trial
from publishing.worker_tasks.trial_request import TrialRequest

_BATCHING = Batching(max_rows=64, delay_us=5000, queue_rows=4096)
WIDE = DemoModel(
    "digits-wide",
    MlpRecipe(seed=1, hidden=(1536, 1536), epochs=8, batch=128, learning_rate=1e-3, smoothing=0.05),
    "A wide network that reads handwritten digits of 8 by 8 pixels.",
)


def wide_files(folder: Path) -> dict[str, bytes]:
    """The files of the wide model: trained, and made as publishing makes them, without a mark."""
    torch.set_num_threads(1)
    # It warns of packages that it does without.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    write_model(WIDE, datasets.digits(), folder)
    source = SourceFolder.read(folder / WIDE.folder)
    data = Dataset.read(DATA / "digits.safetensors")
    config = replace(source.config, batching=_BATCHING)
    serving, response = source.serving, source.response
    slices = data.fit, data.calibration, data.test
    request = TrialRequest(config, serving, serving, response, *slices, seed=1)
    made: list[bytes] = []
    trial.run(request.encode(), made.append)
    int8, response, golden, detector, _ = made
    return {
        version_contents.MODEL: config.encode(),
        version_contents.INT8: int8,
        version_contents.FP32: serving,
        version_contents.RESPONSE: response,
        version_contents.GOLDEN: golden,
        version_contents.DETECTOR: detector,
    }
