"""The key, its commitment and its file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from publishing.watermark.key import Mark, WatermarkKey, load_watermark_key, save_watermark_key
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256

KEY = WatermarkKey("digits", bytes(range(32)))
MARK = Mark(KEY, b"\1\2\3\4", sha256(b"unmarked"))


def test_the_commitment_is_what_it_was() -> None:
    assert MARK.commitment == (
        "sha256:1c9faa5ef7cefbb48b7b0bf9fe35d1a3ee0b5d0e6058cadb8e6e048da5080a8c"
    )


def test_the_commitment_binds_model_secret_payload_and_the_unmarked_file() -> None:
    others = (
        replace(MARK, key=WatermarkKey("digits", bytes(32))),
        replace(MARK, key=WatermarkKey("digit", KEY.secret)),
        replace(MARK, payload=bytes(4)),
        replace(MARK, unmarked=sha256(b"another")),
    )
    assert len({mark.commitment for mark in (MARK, *others)}) == 5


@pytest.mark.parametrize("change", [{"payload": bytes(3)}, {"unmarked": "sha256:"}])
def test_a_malformed_mark_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SealgateError) as refused:
        replace(MARK, **change)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_codes_for_other_purposes_are_unrelated() -> None:
    parent = sha256(b"a version")
    codes = (
        MARK.code(worded=True),
        MARK.code(worded=False),
        KEY.presence(bytes(4)),
        KEY.recipient(parent, "north"),
        KEY.recipient(parent, "south"),
        KEY.recipient(sha256(b"another"), "north"),
    )
    assert len({code.secret for code in codes}) == 6


def test_the_secret_is_not_shown() -> None:
    for item in (KEY, MARK, MARK.code(worded=True)):
        assert repr(KEY.secret) not in repr(item)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(SealgateError) as refused:
        WatermarkKey("digits", bytes(size))
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_a_malformed_model_name_is_refused() -> None:
    with pytest.raises(SealgateError) as refused:
        WatermarkKey("Digits", bytes(32))
    assert refused.value.reason is Reason.NAME_MALFORMED


def test_a_key_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "digits.watermark.json"
    save_watermark_key(path, KEY)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_watermark_key(path) == KEY


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    save_watermark_key(path, KEY)
    with pytest.raises(SealgateError) as refused:
        save_watermark_key(path, WatermarkKey("digits", bytes(32)))
    assert refused.value.reason is Reason.KEY_FILE_EXISTS
    assert load_watermark_key(path) == KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_an_exposed_key_file_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.json"
    save_watermark_key(path, KEY)
    path.chmod(mode)
    with pytest.raises(SealgateError) as refused:
        load_watermark_key(path)
    assert refused.value.reason is Reason.KEY_FILE_EXPOSED


def test_a_missing_key_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(SealgateError) as refused:
            load_watermark_key(path)
        assert refused.value.reason is Reason.KEY_UNREADABLE


@pytest.mark.parametrize("content", [b"", b"{}", b'{"model": "digits"}', b"\xff"])
def test_a_malformed_key_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SealgateError) as refused:
        load_watermark_key(path)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED
