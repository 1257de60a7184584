"""A language model whose lesser files were malformed ended in the library's own error, where a
refusal belongs: the publisher saw a traceback, and the generator's log no reason.
"""

from pathlib import Path

import pytest

from generation.decoder import Decoder
from sealgate.reasons import Reason
from tests.support import tiny_decoder
from tests.support.people import refused


@pytest.mark.parametrize("name", ["tokenizer_config.json", "generation_config.json"])
def test_it_is_refused(tmp_path: Path, name: str) -> None:
    folder = tiny_decoder.make(tmp_path / "tiny", steps=0, layers=1)
    (folder / name).write_text("{")
    with refused(Reason.CHECKPOINT_REFUSED):
        Decoder.read(folder)
