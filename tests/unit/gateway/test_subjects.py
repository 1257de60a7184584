"""An erasure that breaks off is told of already, and a repeated request ends it."""

import uuid
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.request_fields import once
from gateway.subjects import erase_subject
from registry.schema import REQUESTS
from sealgate.reasons import Reason, Refusal
from sealgate.trust.pseudonym import is_pseudonym
from sealgate.v1.log_pb2 import EraseSubjectRequest
from tests.support.bureau import Bureau
from tests.support.people import ANSWER_LOG, refused


class BreaksOff:
    """A recorder of three answers whose database is away at first."""

    def __init__(self) -> None:
        self.left = 3
        self.away = True

    def erase(self, subject: str) -> int:
        if self.away:
            self.away = False
            raise Refusal(Reason.RECORD_FAILED)
        erased, self.left = self.left, 0
        return erased


@pytest.fixture
def bureau(tmp_path: Path):
    bureau = Bureau(tmp_path, f"sqlite:///{tmp_path}/registry.db").found()
    yield bureau
    bureau.registry.close()


def test_a_repeated_request_ends_what_the_first_began(bureau: Bureau) -> None:
    recorder, request_id = BreaksOff(), str(uuid.uuid4())

    def erase(subject="patient-4711", request_id=request_id):
        erasures = bureau.registry.erasures
        return erase_subject(erasures, recorder, "otto", ANSWER_LOG, subject, request_id)

    with refused(Reason.RECORD_FAILED):
        erase()
    told = bureau.registry.erasures.all()
    erased = erase()
    assert (erased.entries, recorder.left) == (3, 0)
    assert is_pseudonym(erased.pseudonym, "patient-4711")
    assert erase().pseudonym == erased.pseudonym
    assert bureau.registry.erasures.all() == told == [(ANSWER_LOG, erased.pseudonym)]
    with refused(Reason.REQUEST_ID_REUSED):
        erase("patient-4712")
    with refused(Reason.PARAMETER_MALFORMED):
        erase(request_id="1")
    # Without an id each is a request of its own.
    assert erase(request_id="").pseudonym != erased.pseudonym


def test_the_name_is_not_guessed_fast_from_what_is_kept_of_the_request(bureau: Bureau) -> None:
    recorder, request_id = BreaksOff(), str(uuid.uuid4())
    recorder.away = False
    request = EraseSubjectRequest(origin=ANSWER_LOG, subject="patient-4711", request_id=request_id)
    erase_subject(
        bureau.registry.erasures, recorder, "otto", ANSWER_LOG, request.subject, request_id
    )
    with bureau.database.reading() as connection:
        (kept,) = connection.execute(select(REQUESTS)).all()
    assert kept.request_id == request_id
    assert kept.digest != once(request).digest
