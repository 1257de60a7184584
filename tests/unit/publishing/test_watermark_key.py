"""The key, its commitment and its file."""

from pathlib import Path

import pytest

from publishing.watermark.key import WatermarkKey, load_watermark_key, save_watermark_key
from sealgate.reasons import Reason, Refusal

KEY = WatermarkKey("digits", bytes(range(32)))


def test_the_commitment_is_what_it_was() -> None:
    assert KEY.commitment == (
        "sha256:2e8379b8bbca1cacdd205e79a6364901a99cfa49cb0382044a019f330fd85eaa"
    )


def test_the_commitment_binds_secret_and_model() -> None:
    keys = (KEY, WatermarkKey("digits", bytes(32)), WatermarkKey("digit", KEY.secret))
    assert len({key.commitment for key in keys}) == 3


def test_the_secret_is_not_shown() -> None:
    assert "secret" not in repr(KEY)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(Refusal) as refused:
        WatermarkKey("digits", bytes(size))
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_a_malformed_model_name_is_refused() -> None:
    with pytest.raises(Refusal) as refused:
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
    with pytest.raises(Refusal) as refused:
        save_watermark_key(path, WatermarkKey("digits", bytes(32)))
    assert refused.value.reason is Reason.KEY_FILE_EXISTS
    assert load_watermark_key(path) == KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_an_exposed_key_file_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.json"
    save_watermark_key(path, KEY)
    path.chmod(mode)
    with pytest.raises(Refusal) as refused:
        load_watermark_key(path)
    assert refused.value.reason is Reason.KEY_FILE_EXPOSED


def test_a_missing_key_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(Refusal) as refused:
            load_watermark_key(path)
        assert refused.value.reason is Reason.KEY_UNREADABLE


@pytest.mark.parametrize("content", [b"", b"{}", b'{"model": "digits"}', b"\xff"])
def test_a_malformed_key_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(Refusal) as refused:
        load_watermark_key(path)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED
