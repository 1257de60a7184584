"""A version whose `model.json` told of more tokens than its graphs have embeddings was loaded.

Golden inputs held none of the others. One caller who sent such a token failed the batch that it
was in, everybody's answers with it, and counted as a fault of the version: enough of those, and the
alias was rolled back by itself.
"""

import json
from typing import Any

import pytest

from inference.model_config import ModelConfig
from sealgate.reasons import Reason, Refusal
from tests.support.text_models import ready, version_files


def model_json(**tokens: Any) -> bytes:
    document = json.loads(version_files()["model.json"])
    document["tokens"] |= tokens
    return ModelConfig.read(json.dumps(document).encode()).encode()


def test_a_vocabulary_beyond_the_embeddings_is_refused() -> None:
    ready(model_json=model_json(vocabulary=128))
    with pytest.raises(Refusal) as refused:
        ready(model_json=model_json(vocabulary=129))
    assert refused.value.reason is Reason.GRAPH_MISMATCH
