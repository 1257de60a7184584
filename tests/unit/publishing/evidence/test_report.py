"""A worker's measurements are decoded strictly: our names, and numbers within their range."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference.model.golden import Golden
from publishing.attacks.probe import ATTACKS, SHIFTS
from publishing.calibration.served_rows import BORDER
from publishing.evidence.measurements import (
    CERTIFIED,
    CHANGED,
    RECALIBRATION,
    UNSEEN,
    Accuracies,
    TrialMeasurements,
)
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.receipts.answer_entry import FLOAT32
from tests.support.builders.documents.people import refused

ROWS = 400
GOLDEN = Golden(np.zeros((3, 2), np.float32), np.eye(3, 2, dtype=np.float32))
FLAGS = {"flagged": 0.01, "at_least_suspect": 1.0}
CAUGHT = {"auroc": 0.9, "caught_at_1_percent": 0.5, "caught_at_5_percent": 0.75, **FLAGS}


def measured() -> TrialMeasurements:
    attacks: dict[str, Any] = {name: {"succeeded": 0.5, **CAUGHT} for name in ATTACKS}
    attacks["fgsm-0.05"] = {"succeeded": 0.0}
    attacks[BORDER] = {"succeeded": 0.25, **CAUGHT}
    return TrialMeasurements(
        golden={
            "rows": 3,
            "classes_answered": 2,
            "same_class_as_fp32": 1.0,
            "largest_difference_to_fp32": 0.125,
            "same_alone_and_in_a_batch": True,
        },
        screening={
            "rows": ROWS,
            "clean": dict(FLAGS),
            "shifts": {name: {"answers_changed": 0.0, **FLAGS} for name in SHIFTS},
            "attacks": attacks,
            "disagreement": UNSEEN,
            "stages": {
                "first_stage": False,
                "goes_on": 0.2,
                "auroc_lost": 0.02,
                "auroc_lost_most": 0.125,
                "auroc_lost_to_knowing": -0.02,
                "forwards": {"int8": 0.5, "graph": 3.0, "staged": 2.5},
            },
        },
        accuracies=Accuracies(0.97, 0.96, 0.95),
    )


def test_what_was_encoded_is_decoded() -> None:
    assert TrialMeasurements.decode(measured().encode(), GOLDEN, ROWS) == measured()


def with_changes(attack: str = "pgd-0.1", **spoiled: Any) -> TrialMeasurements:
    """Return measurements that include a recalibration."""
    shares = dict.fromkeys(CHANGED, 0.5)
    told = {"clean": dict(shares), "attacks": {attack: shares | spoiled}}
    return replace(measured(), screening={**measured().screening, RECALIBRATION: told})


def with_certified(shares: Any) -> TrialMeasurements:
    """Return measurements that include shares of certified rows."""
    return replace(measured(), screening={**measured().screening, CERTIFIED: shares})


def test_shares_of_certified_rows_are_decoded() -> None:
    told = with_certified({"0.01": 1.0, "0.05": 0.9, "0.1": 0.5, "0.2": 0.0})
    assert TrialMeasurements.decode(told.encode(), GOLDEN, ROWS) == told


@pytest.mark.parametrize(
    "shares",
    [
        {"0.01": 1.5, "0.05": 0.9, "0.1": 0.5, "0.2": 0.0},
        {"0.01": 1.0, "0.05": 0.9, "0.1": 0.5},
        {"0.01": 1.0, "0.05": 0.9, "0.1": 0.5, "0.3": 0.0},
        {"0.01": "all", "0.05": 0.9, "0.1": 0.5, "0.2": 0.0},
        0.9,
    ],
)
def test_what_else_is_said_of_certified_rows_is_refused(shares: Any) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        TrialMeasurements.decode(with_certified(shares).encode(), GOLDEN, ROWS)


def test_what_a_recalibration_changed_is_decoded() -> None:
    assert TrialMeasurements.decode(with_changes().encode(), GOLDEN, ROWS) == with_changes()


@pytest.mark.parametrize(
    "spoiled", [{"flagged": 1.5}, {"flagged": "few"}, {"note": 1.0}, {"attack": "mine"}]
)
def test_what_else_is_said_of_a_recalibration_is_refused(spoiled: dict[str, Any]) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        TrialMeasurements.decode(with_changes(**spoiled).encode(), GOLDEN, ROWS)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("golden/rows", 4),
        ("golden/classes_answered", 3),
        ("golden/same_alone_and_in_a_batch", False),
        ("golden/same_class_as_fp32", 1.5),
        ("golden/largest_difference_to_fp32", -1),
        ("golden/note", "trust me"),
        ("screening/rows", ROWS + 1),
        ("screening/clean/flagged", "none"),
        ("screening/clean/flagged", True),
        ("screening/shifts/noise-0.05", {}),
        ("screening/shifts/noise-9", FLAGS),
        ("screening/attacks/pgd-0.1/auroc", 1.01),
        ("screening/attacks/pgd-0.1", {"succeeded": 0.1, "auroc": 1}),
        ("screening/attacks/pgd-0.1", []),
        ("screening/attacks/mine", {"succeeded": 0}),
        ("screening/attacks", {}),
        ("screening/disagreement", "trust me"),
        ("screening/disagreement", None),
        # The action on a disagreement, without how often it was seen.
        ("screening/disagreement", "float32"),
        # A version that is made now does not answer so.
        ("screening/disagreement", "adversarial"),
        ("screening/stages", {}),
        ("screening/stages", {"first_stage": True}),
        ("screening/stages/first_stage", 1),
        ("screening/stages/first_stage", True),
        ("screening/stages/goes_on", 1.5),
        ("screening/stages/auroc_lost", 2),
        ("screening/stages/auroc_lost_to_knowing", 2),
        ("screening/stages/forwards/graph", -1),
        ("screening/stages/cut", 0.5),
        ("accuracies/int8", -0.1),
        ("accuracies/best", 1),
        ("more", {}),
    ],
)
def test_another_name_or_value_is_refused(path: str, value: Any) -> None:
    document = canonical.decode(measured().encode())
    *parents, last = path.split("/")
    place = document
    for name in parents:
        place = place[name]
    place[last] = value
    with pytest.raises(SealgateError) as refused:
        TrialMeasurements.decode(canonical.encode(document), GOLDEN, ROWS)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_a_report_of_two_stages_says_how_many_rows_go_on() -> None:
    document = canonical.decode(measured().encode())
    screening = document["screening"]
    screening["stages"]["first_stage"] = True
    kinds = [screening["clean"], *screening["shifts"].values()]
    turned = [each for each in screening["attacks"].values() if len(each) > 1]
    for each in [*kinds, *turned]:
        each["goes_on"] = 0.25
    for each in turned:
        each["auroc_graph"] = 0.875
    assert TrialMeasurements.decode(canonical.encode(document), GOLDEN, ROWS)
    del turned[0]["auroc_graph"]
    with pytest.raises(SealgateError) as refused:
        TrialMeasurements.decode(canonical.encode(document), GOLDEN, ROWS)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_a_report_of_compared_answers_says_how_many_disagree() -> None:
    document = canonical.decode(measured().encode())
    screening = document["screening"]
    screening["disagreement"] = FLOAT32
    turned = [each for each in screening["attacks"].values() if len(each) > 1]
    for each in (screening["clean"], *screening["shifts"].values(), *turned):
        each["disagrees"] = 0.125
    assert TrialMeasurements.decode(canonical.encode(document), GOLDEN, ROWS)
    del screening["shifts"]["noise-0.1"]["disagrees"]
    with pytest.raises(SealgateError) as refused:
        TrialMeasurements.decode(canonical.encode(document), GOLDEN, ROWS)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED
