"""PostgreSQL's own program reads what we wrote: a log's root, recomputed from its bytes by the
RFC's definition alone.
"""

import base64
import hashlib

from registry.answers.answer_log import AnswerLog
from tests.support.builders.documents.people import ANSWER_LOG, key
from tests.support.fakes.records import SUBJECTS, an_answer
from tests.support.harness.registry import RegistryHarness
from tests.support.harness.servers.postgres import PostgresServer


def tree_hash(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\1" + tree_hash(leaves[:half]) + tree_hash(leaves[half:])).digest()


def check_root(server: PostgresServer, schema: str) -> int:
    at = f"SET search_path TO {schema}; SELECT "
    rows = server.psql(at + "encode(data, 'hex') FROM log_leaves ORDER BY index")
    leaves = [bytes.fromhex(row) for row in rows.split()]
    note = server.psql(at + "note FROM log_checkpoints ORDER BY size DESC LIMIT 1")
    _, size, root = note.splitlines()[:3]
    assert int(size) == len(leaves)
    assert base64.b64decode(root) == tree_hash(leaves)
    return len(leaves)


def test_psql_reads_the_registry_and_its_log(postgres: PostgresServer, tmp_path) -> None:
    harness = RegistryHarness(tmp_path, postgres.schema_url("psql_registry")).found()
    first = harness.release(harness.publish("one"))
    harness.release(harness.publish("two"), predecessor=1)
    harness.roll_back(first, 3)
    assert check_root(postgres, "psql_registry") == harness.registry.log.size()
    pointers = "SELECT sequence, action, version FROM psql_registry.pointers ORDER BY sequence"
    assert postgres.psql(pointers).split() == ["1|promote|1", "2|promote|2", "3|rollback|1"]
    harness.registry.close()


def test_psql_reads_an_answer_log(postgres: PostgresServer) -> None:
    log = AnswerLog.open(
        postgres.schema_url("psql_answers"), ANSWER_LOG, key("answer-log"), SUBJECTS
    )
    for count in (1, 200, 256, 11):
        log.append([an_answer()] * count)
    assert check_root(postgres, "psql_answers") == 468
    log.close()
