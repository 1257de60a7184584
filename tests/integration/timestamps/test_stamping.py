"""A gateway's timestamps, by `openssl ts` over real HTTP, and its handling of bad answers."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from gateway.config.optional_sections import TimestampSettings
from gateway.timestamps import TimestampStore, TimestampUpdater
from sealgate.reasons import Reason
from sealgate.settings import ConfigError
from sealgate.trust.timestamps import LARGEST_STAMP, Timestamp, TimestampAuthority
from sealgate.trust.transparency import open_checkpoint
from tests.support.builders.documents.people import ANSWER_LOG, refused
from tests.support.fakes.growing_log import GrowingLog
from tests.support.harness.servers.timestamp_authority import LocalAuthority, serving_authority

REJECTED = bytes.fromhex("30053003020102")


class Clock:
    """The time, and what is added to it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def authority(tmp_path: Path) -> LocalAuthority:
    return LocalAuthority(tmp_path / "authority")


@pytest.fixture
def settings(authority: LocalAuthority) -> Iterator[TimestampSettings]:
    with serving_authority(authority) as url:
        yield TimestampSettings(url, authority.folder / "ca.pem", every=3600)


def updater(
    folder: Path, settings: TimestampSettings, *logs: GrowingLog, clock: Clock | None = None
) -> TimestampUpdater:
    return TimestampUpdater(settings, folder / "seen.json", logs, clock or Clock())


def stamps(found: TimestampUpdater) -> list[Timestamp]:
    return list(found.store.stamps(ANSWER_LOG))


def test_stamps_are_kept_beside_what_was_seen(
    tmp_path: Path, authority: LocalAuthority, settings: TimestampSettings
) -> None:
    log = GrowingLog("a", "b")
    made = updater(tmp_path, settings, log)
    assert made.newest() == {ANSWER_LOG: None}
    time = made.stamp(log)
    (stamp,) = stamps(made)
    assert open_checkpoint(stamp.note, log.vkey).size == 2
    assert TimestampAuthority(authority.certificates).verify(stamp) == time
    # Another process finds them too.
    again = updater(tmp_path, settings, log).newest()[ANSWER_LOG]
    assert again is not None
    assert (again.size, again.time) == (2, time)
    assert (tmp_path / "timestamps").is_dir()


@pytest.mark.parametrize("name", ["29991231T000000Z", "20261399T000000Z"])
def test_the_name_of_a_file_stops_no_stamping(
    tmp_path: Path, settings: TimestampSettings, name: str
) -> None:
    home = tmp_path / "timestamps" / quote(ANSWER_LOG, safe="")
    home.mkdir(parents=True)
    (home / f"000000000009-{name}.tsr").write_bytes(b"")
    log = GrowingLog("a")
    made = updater(tmp_path, settings, log)
    made.update()
    assert made.newest()[ANSWER_LOG] is not None
    assert len(list(home.glob("000000000001-*.tsr"))) == 1


def test_stamps_are_copied_and_none_is_replaced(
    tmp_path: Path, settings: TimestampSettings
) -> None:
    log = GrowingLog("a")
    made = updater(tmp_path, settings, log)
    made.stamp(log)
    copy = TimestampStore(tmp_path / "copy")
    made.store.copy_to(copy.folder)
    assert list(copy.stamps(ANSWER_LOG)) == stamps(made)
    (kept,) = copy.folder.glob("*/*.tsr")
    kept.write_bytes(b"what was there")
    made.store.copy_to(copy.folder)
    assert kept.read_bytes() == b"what was there"
    # A file that is no stamp is neither copied nor read.
    (kept.parent / "notes.txt").write_text("mine")
    back = TimestampStore(tmp_path / "back")
    copy.copy_to(back.folder)
    assert {path.suffix for path in back.folder.glob("*/*")} == {".note", ".tsr"}


def test_a_log_is_stamped_again_once_the_last_stamp_is_old_enough(
    tmp_path: Path, settings: TimestampSettings
) -> None:
    log, clock = GrowingLog("a"), Clock()
    made = updater(tmp_path, settings, log, clock=clock)
    made.update()
    log.grow("b")
    made.update()
    assert len(stamps(made)) == 1
    # The authority's clock does not go ahead with ours; one of five minutes is borne.
    clock.ahead = timedelta(minutes=4)
    updater(
        tmp_path, TimestampSettings(settings.url, settings.certificates, every=60), log, clock=clock
    ).update()
    assert [open_checkpoint(each.note, log.vkey).size for each in stamps(made)] == [1, 2]


def test_an_authority_that_is_away_or_wrong_is_only_alarmed(
    tmp_path: Path,
    authority: LocalAuthority,
    settings: TimestampSettings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = GrowingLog("a")
    made = updater(tmp_path, settings, log)
    earlier = authority.reply(TimestampAuthority(authority.certificates).request("other").data)
    for answer, reason in (
        (REJECTED, Reason.TIMESTAMP_REFUSED),
        (b"", Reason.DOCUMENT_MALFORMED),
        (b"<html>", Reason.DOCUMENT_MALFORMED),
        (bytes(LARGEST_STAMP + 1), Reason.DOCUMENT_MALFORMED),
        (earlier, Reason.TIMESTAMP_MISMATCH),
    ):
        authority.answers.append(answer)
        with refused(reason):
            made.stamp(log)
    authority.status = 503
    with refused(Reason.TIMESTAMP_REFUSED):
        made.stamp(log)
    # A redirect is not followed.
    authority.status = 302
    with refused(Reason.TIMESTAMP_REFUSED):
        made.stamp(log)
    with caplog.at_level(logging.ERROR):
        made.update()
    assert Reason.TIMESTAMP_REFUSED.name in caplog.text
    assert stamps(made) == []
    gone = TimestampSettings("http://127.0.0.1:1/tsr", settings.certificates)
    with refused(Reason.TIMESTAMP_REFUSED):
        updater(tmp_path, gone, log).stamp(log)


def test_a_replayed_answer_is_refused_by_its_nonce(
    tmp_path: Path, authority: LocalAuthority, settings: TimestampSettings
) -> None:
    log = GrowingLog("a")
    made = updater(tmp_path, settings, log)
    made.stamp(log)
    authority.answers.append(stamps(made)[0].stamp)
    with refused(Reason.TIMESTAMP_MISMATCH) as caught:
        made.stamp(log)
    assert "another request" in caught.value.detail


def test_a_time_that_is_not_ours_is_refused(tmp_path: Path, settings: TimestampSettings) -> None:
    log, clock = GrowingLog("a"), Clock()
    clock.ahead = timedelta(minutes=6)
    with refused(Reason.TIMESTAMP_MISMATCH):
        updater(tmp_path, settings, log, clock=clock).stamp(log)


def test_a_checkpoint_of_another_key_is_not_stamped(
    tmp_path: Path, settings: TimestampSettings
) -> None:
    log = GrowingLog("a")
    log.vkey = GrowingLog(signer="registry-log").vkey
    with refused(Reason.SIGNATURE_INVALID):
        updater(tmp_path, settings, log).stamp(log)


def test_without_an_authority_nothing_is_stamped(tmp_path: Path) -> None:
    log = GrowingLog("a")
    made = updater(tmp_path, TimestampSettings(), log)
    made.start()
    assert (made.newest(), made.every) == ({}, 0.0)
    with refused(Reason.TIMESTAMP_REFUSED):
        made.stamp(log)


def test_an_authority_has_certificates_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("none")
    for name in ("none.pem", "missing.pem"):
        settings = TimestampSettings("https://tsa.example/", tmp_path / name)
        with pytest.raises(ConfigError, match="certificates or policy cannot be used"):
            updater(tmp_path, settings)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": "http://tsa.example/"}, "neither https nor on this machine"),
        ({"url": "file:///etc/passwd"}, "neither https nor on this machine"),
        ({"url": "https://user:word@tsa.example/"}, "neither https nor on this machine"),
        ({"url": "https://[::1"}, "is not an address"),
        ({"every": 1.0}, "60 seconds or more"),
        ({"certificates": None}, "certificates is needed"),
        ({"url": ""}, "url is needed"),
    ],
)
def test_settings_that_are_refused(changes: dict[str, object], said: str) -> None:
    stated = {"url": "https://tsa.example/", "certificates": Path("ca.pem"), **changes}
    with pytest.raises(ConfigError, match=said):
        TimestampSettings(**stated)  # type: ignore[arg-type]


def test_plain_http_to_other_machines_is_asked_for_by_name() -> None:
    settings = TimestampSettings(
        "http://tsa.example/?a=b", Path("ca.pem"), insecure_plain_http=True
    )
    assert settings.url
