"""The columns of a table, as `model.json` states them, are read strictly."""

import json
from pathlib import Path
from typing import Any

import pytest

from inference.model.columns import Column, describe_columns
from inference.model.config import ModelConfig
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from tests.support.builders.models.model_documents import DOCUMENT, written

DURATION = {"name": "duration", "step": 1, "min": 6, "max": 72}
AGE = {"name": "age", "step": 1, "immutable": True}
RATE = {"name": "rate"}
CAR, RADIO = ({"name": "purpose", "word": word} for word in ("car", "radio"))
LOAN = [DURATION, AGE, RATE, CAR, RADIO]
SCALING = {"offset": [4, 19, 0, 0, 0], "scale": [68, 56, 4, 1, 1]}


def document(columns: Any, **changes: Any) -> dict[str, Any]:
    wide = {"input": {"name": "x", "datatype": "FP32", "shape": [-1, 5]}, "scaling": SCALING}
    return DOCUMENT | wide | changes | {"columns": columns}


def read(columns: Any, **changes: Any) -> ModelConfig:
    return ModelConfig.read(json.dumps(document(columns, **changes)).encode())


def test_what_is_stated_is_read_and_written_alike() -> None:
    config = read(LOAN)
    assert config.columns == (
        Column("duration", step=1, min=6, max=72),
        Column("age", step=1, immutable=True),
        Column("rate"),
        Column("purpose", "car"),
        Column("purpose", "radio"),
    )
    assert config.encode() == canonical.encode(document(LOAN))
    assert ModelConfig.decode(config.encode()) == config


def test_a_document_without_columns_is_what_it_was() -> None:
    config = ModelConfig.read(written())
    assert (config.columns, config.table) == ((), None)
    assert config.encode() == canonical.encode(DOCUMENT)


def test_what_states_nothing_is_left_out_of_a_version() -> None:
    wordy = [{**RATE, "step": 0, "immutable": False}, AGE, DURATION, CAR, RADIO]
    scaling = {"offset": [0, 19, 4, 0, 0], "scale": [4, 56, 68, 1, 1]}
    config = read(wordy, scaling=scaling)
    assert canonical.decode(config.encode())["columns"][0] == RATE
    with pytest.raises(SealgateError) as refused:
        ModelConfig.decode(canonical.encode(document(wordy, scaling=scaling)))
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


MALFORMED = {
    "no list": {"duration": DURATION},
    "null": None,
    "empty": [],
    "too few": LOAN[:4],
    "too many": [*LOAN, {"name": "more"}],
    "no object": [*LOAN[:4], "rate"],
    "no name": [*LOAN[:4], {"step": 1}],
    "an empty name": [*LOAN[:4], {"name": ""}],
    "a name that is a number": [*LOAN[:4], {"name": 1}],
    "an unprintable name": [*LOAN[:4], {"name": "a\x1b[2J"}],
    "an unprintable word": [*LOAN[:4], {"name": "purpose", "word": "\n"}],
    "a long name": [*LOAN[:4], {"name": "a" * 129}],
    "an unknown field": [*LOAN[:4], {"name": "a", "steps": 1}],
    "a number twice": [*LOAN[:4], DURATION],
    "a word twice": [*LOAN[:4], CAR],
    "a number and words": [*LOAN[:4], {"name": "purpose"}],
    "a word that is a number": [*LOAN[:4], {"name": "purpose", "word": 1}],
    "a word with a step": [*LOAN[:4], {**RADIO, "step": 1}],
    "a word with a range": [*LOAN[:4], {**RADIO, "max": 1}],
    "one word of two immutable": [*LOAN[:4], {**RADIO, "immutable": True}],
    "immutable, in words": [DURATION, {**AGE, "immutable": "yes"}, *LOAN[2:]],
    "nothing to change": [
        {**DURATION, "immutable": True},
        AGE,
        {**RATE, "immutable": True},
        CAR,
        RADIO,
    ],
    "a step backwards": [{**DURATION, "step": -1}, *LOAN[1:]],
    "a step that is true": [{**DURATION, "step": True}, *LOAN[1:]],
    "a range of no size": [{**DURATION, "min": 72}, *LOAN[1:]],
    "a range of nothing": [*LOAN[:2], {**RATE, "min": 0, "max": 0}, *LOAN[3:]],
    "a range upside down": [{**DURATION, "min": 72, "max": 6}, *LOAN[1:]],
    "a range below the domain": [{**DURATION, "min": 3}, *LOAN[1:]],
    "a range above the domain": [{**DURATION, "max": 73}, *LOAN[1:]],
    "a range far outside": [{"name": "duration", "min": 100}, *LOAN[1:]],
    "a bound between two values": [{**DURATION, "min": 6.5}, *LOAN[1:]],
    "a step finer than float32": [{**DURATION, "step": 1e-5}, *LOAN[1:]],
    "a range finer than float32": [{"name": "duration", "min": 6, "max": 6.00001}, *LOAN[1:]],
    "a bound that is null": [{**DURATION, "min": None}, *LOAN[1:]],
}


@pytest.mark.parametrize("columns", MALFORMED.values(), ids=MALFORMED)
def test_what_makes_no_sense_is_refused(columns: Any) -> None:
    with pytest.raises(SealgateError) as refused:
        read(columns)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


@pytest.mark.parametrize(
    "changes",
    [
        {"input": {"name": "x", "datatype": "FP32", "shape": [-1, 1, 5]}},
        # Where a word is 1 lies outside the domain.
        {"scaling": {**SCALING, "scale": [68, 56, 4, 1, 0.5]}},
        # Float32 does not tell one from another.
        {"scaling": {**SCALING, "offset": [1e9, 19, 0, 0, 0]}},
        {"scaling": {**SCALING, "scale": [1e-300, 56, 4, 1, 1]}},
    ],
)
def test_columns_that_the_rows_contradict_are_refused(changes: dict[str, Any]) -> None:
    read([{"name": "duration"}, *LOAN[1:]])
    with pytest.raises(SealgateError) as refused:
        read([{"name": "duration"}, *LOAN[1:]], **changes)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_a_text_has_no_columns() -> None:
    text = {
        **{name: value for name, value in DOCUMENT.items() if name != "domain"},
        "input": {"name": "x", "datatype": "BYTES", "shape": [-1]},
        "tokens": {"vocabulary": 10, "buckets": [8], "overlong": "refuse", "text_bytes": 64},
    }
    ModelConfig.read(json.dumps(text).encode())
    with pytest.raises(SealgateError) as refused:
        ModelConfig.read(json.dumps(text | {"columns": [RATE]}).encode())
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_people_are_told_what_each_column_holds() -> None:
    assert describe_columns(read(LOAN).columns) == {
        "duration": "from 6 to 72 in steps of 1",
        "age": "in steps of 1; immutable",
        "rate": "any number",
        "purpose": "one of car, radio",
    }


def test_the_example_of_the_manual_is_one() -> None:
    page = (Path(__file__).parents[4] / "docs" / "reference" / "tables.md").read_text()
    example = json.loads("{" + page.partition("```json")[2].partition("```")[0] + "}")
    config = read(**example)
    assert describe_columns(config.columns)["duration"] == "from 6 in steps of 1"
    assert config.table is not None
    assert config.table.high.tolist() == [1, 1, 1, 1, 1]
