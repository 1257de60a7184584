"""The first stage of screening reads a text's embeddings, and was shown them where they had not
been integers yet. For that the runtime made float32 of the whole table of words in each run: of
MiniLM eleven million numbers, in as much time as a text takes.
"""

import numpy as np
import onnx
import onnxruntime

from inference.screening.last_layer import find_embeddings, with_outputs
from tests.support import text_models


def test_embeddings_are_read_behind_their_integers() -> None:
    int8 = text_models.version_files()["model.int8.onnx"]
    shown = find_embeddings(int8, "input_ids")
    nodes = onnx.load_model_from_string(int8).graph.node
    assert next(node.op_type for node in nodes if shown in node.output) == "DequantizeLinear"
    (before,) = (node.output[0] for node in nodes if node.op_type == "Gather")
    rows = np.array([[2, 5, 9, 3]], np.int64)
    feeds = {"input_ids": rows, "attention_mask": np.ones_like(rows)}
    found = [
        onnxruntime.InferenceSession(with_outputs(int8, {name: 3})).run([name], feeds)[0]
        for name in (shown, before)
    ]
    assert np.array_equal(*found)
