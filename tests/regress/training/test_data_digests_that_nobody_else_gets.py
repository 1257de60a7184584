"""The digest of texts in a provenance was none of the file's, so an auditor who held the file could
not tell that it was the one; and that of a folder of e-mails did not change where a folder was
called spam or ham instead, and every label with it.
"""

import hashlib
import json
from pathlib import Path

from tests.support import recipes
from tests.support.text_models import sentences, tokenizer_json
from training.recipe import SPAM, DataRows, Recipe
from training.sources import read_rows


def test_a_file_s_is_its_own(tmp_path: Path) -> None:
    asked = Recipe.read(recipes.texts(tmp_path)).data
    digest = hashlib.sha256((tmp_path / "texts.jsonl").read_bytes()).hexdigest()
    assert read_rows(asked, tokenizer_json()).files == {"texts.jsonl": f"sha256:{digest}"}


def _letters(folder: Path, *kinds: str) -> DataRows:
    texts = iter(sentences(1, 4)[0])
    for kind in kinds:
        (folder / kind).mkdir(parents=True)
        for number in range(2):
            place = folder / kind / f"{number}.json"
            place.write_text(json.dumps({"text": f"Subject: x\n\n{next(texts)}"}))
    return DataRows(SPAM, 1, 1, 1, path=folder)


def test_a_folder_s_is_of_names_too(tmp_path: Path) -> None:
    # The second sorts otherwise as a path than as a line of a list.
    kinds = ("easy", "easy-spam")
    found = read_rows(_letters(tmp_path / "mails", *kinds), tokenizer_json()).files
    lines = [
        f"{hashlib.sha256((tmp_path / 'mails' / name).read_bytes()).hexdigest()}  {name}\n"
        for name in sorted(f"{kind}/{number}.json" for kind in kinds for number in range(2))
    ]
    listed = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert found == {"mails": f"sha256:{listed}"}
    other = _letters(tmp_path / "other" / "mails", "easy-ham", "easy-hard")
    assert read_rows(other, tokenizer_json()).files != found
