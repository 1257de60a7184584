"""A gateway whose checkpoints an authority stamps: audit, health, metrics, pack and backup."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.timestamps import StampedLog, TimestampStore
from sealgate.reasons import Reason
from sealgate.trust.keys import load_private_key
from sealgate.trust.timestamps import Timestamp, TimestampAuthority
from sealgate.trust.transparency import Checkpoint, open_checkpoint, sign_checkpoint
from sealgate.v1.log_pb2 import GetCheckpointRequest, StreamTimestampsRequest
from tests.support.harness.gateway import GatewayHarness
from tests.support.harness.rollouts import await_true
from tests.support.harness.servers.timestamp_authority import (
    POLICY,
    LocalAuthority,
    serving_authority,
)
from tests.support.oracles.programs import program

ORIGINS = ("house.localhost/answers", "house.localhost/registry")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> LocalAuthority:
    return LocalAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def harness(
    tmp_path_factory: pytest.TempPathFactory, authority: LocalAuthority
) -> Iterator[GatewayHarness]:
    harness = GatewayHarness(tmp_path_factory.mktemp("stamped") / "state")
    with serving_authority(authority) as url:
        section = f'url = "{url}"\ncertificates = "{authority.folder / "ca.pem"}"\n'
        with (harness.state / "gateway.toml").open("a") as file:
            file.write(f'\n[timestamps]\n{section}policy = "{POLICY}"\n')
            file.write('\n[limits]\nanchor_every = 1.0\n[metrics]\nlisten = "127.0.0.1:0"\n')
        harness.start()
        try:
            timestamps = harness.gateway.timestamps
            await_true(lambda: all(timestamps.newest().values()))
            yield harness
        finally:
            harness.stop()


def sample(harness: GatewayHarness, line: str) -> float:
    address = f"http://127.0.0.1:{harness.gateway.ports['metrics']}/metrics"
    with urllib.request.urlopen(address, timeout=60) as answer:
        text = answer.read().decode()
    (value,) = [each.split(" ")[1] for each in text.splitlines() if each.startswith(line)]
    return float(value)


def verified(harness: GatewayHarness, *words: str) -> tuple[int, list[dict[str, object]]]:
    result = harness.command("audit", "verify", "--wait", "60", "--json", *words)
    return result.exit_code, json.loads(result.stdout)


def test_an_auditor_verifies_the_stamps_of_each_log(
    harness: GatewayHarness, authority: LocalAuthority
) -> None:
    pinned = str(authority.folder / "ca.pem")
    code, rows = verified(harness, "--timestamps", pinned, "--timestamp-policy", POLICY)
    assert code == 0, rows
    for row in rows:
        assert row["stamps"] == 1
        assert f"{row['stamped']} entries stamped at {row['stamped_time']}" in str(row["found"])
        if int(str(row["entries"])) > int(str(row["stamped"])):
            assert "not yet the" in str(row["found"])
    code, rows = verified(harness)
    assert (code, {row["stamps"] for row in rows}) == (0, {0})
    text = harness.command("audit", "verify", "--wait", "60").output
    assert "no time stamps asked for (--timestamps)" in text


def test_stamps_of_another_authority_or_policy_are_refused(
    harness: GatewayHarness, authority: LocalAuthority, tmp_path: Path
) -> None:
    other = LocalAuthority(tmp_path / "other")
    code, rows = verified(harness, "--timestamps", str(other.folder / "ca.pem"))
    assert (code, rows[0]["reason"]) == (1, Reason.SIGNATURE_INVALID.name)
    pinned = str(authority.folder / "ca.pem")
    code, rows = verified(harness, "--timestamps", pinned, "--timestamp-policy", "1.2.3")
    assert (code, rows[0]["reason"]) == (1, Reason.TIMESTAMP_MISMATCH.name)


def test_a_log_without_stamps_is_not_all_seen(
    harness: GatewayHarness, authority: LocalAuthority, tmp_path: Path
) -> None:
    store = harness.gateway.timestamps.store
    aside = store.folder.rename(tmp_path / "aside")
    try:
        code, rows = verified(harness, "--timestamps", str(authority.folder / "ca.pem"))
    finally:
        aside.rename(store.folder)
    assert code == 3
    assert {row["reason"] for row in rows} == {Reason.TIMESTAMP_MISSING.name}


def test_a_stamped_checkpoint_that_the_log_does_not_extend_is_seen(
    harness: GatewayHarness, authority: LocalAuthority
) -> None:
    """As after a database was put back: more entries were stamped than there are."""
    origin = "house.localhost/registry"
    store = TimestampStore(harness.gateway.timestamps.store.folder)
    log_key = load_private_key(harness.state / "keys" / "registry-log.key")
    note = sign_checkpoint(Checkpoint(origin, 10_000, bytes(32)), log_key)
    pinned = TimestampAuthority(authority.certificates)
    stamp = Timestamp(note, authority.reply(pinned.request(note).data))
    store.keep(origin, stamp, StampedLog(10_000, pinned.verify(stamp)))
    try:
        code, rows = verified(harness, "--timestamps", str(authority.folder / "ca.pem"))
    finally:
        for path in store.folder.glob("*/000000010000-*"):
            path.unlink()
    assert (code, rows[0]["reason"]) == (1, Reason.LOG_INCONSISTENT.name)
    assert "the time stamp of" in str(rows[0]["found"])


def test_health_and_metrics_tell_how_old_the_stamps_are(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = json.loads(harness.command("health", "--json").stdout)["findings"]
    found = {row["subject"]: row["state"] for row in rows if row["check"] == "timestamp"}
    assert found == dict.fromkeys(ORIGINS, "well")
    newest = harness.gateway.timestamps.newest()
    old = {
        o: each._replace(time=datetime.now(UTC) - timedelta(days=3))
        for o, each in newest.items()
        if each
    }
    for log, origin in zip(("answers", "registry"), ORIGINS, strict=True):
        stamped = newest[origin]
        assert stamped is not None
        line = f'sealgate_log_stamped_timestamp_seconds{{log="{log}"}}'
        assert sample(harness, line) == stamped.time.timestamp()
        assert sample(harness, f'sealgate_log_stamp_interval_seconds{{log="{log}"}}') == 86400
    monkeypatch.setattr(harness.gateway.timestamps, "newest", lambda: old)
    rows = json.loads(harness.command("health", "--json").stdout)["findings"]
    late = [row for row in rows if row["check"] == "timestamp"]
    assert {row["state"] for row in late} == {"wrong"}
    assert all("72.0 hours ago" in row["detail"] for row in late)


def test_openssl_verifies_what_a_pack_and_a_backup_hold(
    harness: GatewayHarness, authority: LocalAuthority, tmp_path: Path
) -> None:
    exported = harness.command("audit", "export", str(tmp_path / "pack"), "--without-files")
    assert exported.exit_code == 0, exported.output
    copied = harness.command("backup", str(tmp_path / "backup"), "--no-artifacts")
    assert copied.exit_code == 0, copied.output
    notes = [*tmp_path.glob("*/timestamps/*/*.note")]
    assert len(notes) == 4
    for note in notes:
        words = ["ts", "-verify", "-data", note, "-in", note.with_suffix(".tsr")]
        command = [program("openssl"), *words, "-CAfile", authority.folder / "ca.pem"]
        assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def test_the_gateway_shows_what_it_keeps(harness: GatewayHarness) -> None:
    policy = harness.governance("auditor").policy()
    for origin in ORIGINS:
        (shown,) = harness.logs().StreamTimestamps(StreamTimestampsRequest(origin=origin))
        told = harness.logs("client").GetCheckpoint(GetCheckpointRequest(origin=origin))
        assert open_checkpoint(shown.note, policy.log_key(origin)).size == told.stamped_size
        assert (told.stamped_time[:4], told.stamp_seconds) == (str(datetime.now(UTC).year), 86400)
