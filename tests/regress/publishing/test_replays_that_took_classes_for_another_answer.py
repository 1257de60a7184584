"""Where the policy let the likeliest classes alone leave, asking again told of another answer: what
was compared with the digest of the classes were all the logits.
"""

import numpy as np
import pytest

from publishing.replay import Replayed, compare
from sealgate.reasons import Reason, Refusal
from sealgate.tensors import Tensor
from sealgate.trust.answer import tensors_digest

LOGITS = np.array([[1.0, 2.0], [4.0, 3.0]], np.float32)


def digest(*classes: int) -> str:
    tensor = Tensor.of("label", np.array(classes, np.int64))
    return tensors_digest([(tensor.name, tensor.datatype, tensor.shape, tensor.raw)])


def test_the_classes_are_the_answer() -> None:
    agreed = compare(Replayed("logits", LOGITS, "suspect"), "suspect", digest(1, 0), None, 0.0)
    assert agreed.answer == "the same classes, which alone were given"


def test_other_classes_are_another_answer() -> None:
    with pytest.raises(Refusal) as caught:
        compare(Replayed("logits", LOGITS, "suspect"), "suspect", digest(1, 1), None, 0.0)
    assert caught.value.reason is Reason.REPLAY_MISMATCH
