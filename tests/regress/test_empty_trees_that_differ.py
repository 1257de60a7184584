"""A proof from the empty tree to itself once held for any root: a witness cosigned an empty log
that stated a root of something.
"""

from sealgate.reasons import Reason
from sealgate.trust.merkle import EMPTY_ROOT, verify_consistency
from tests.support.people import refused


def test_the_empty_tree_has_one_root() -> None:
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    with refused(Reason.PROOF_INVALID):
        verify_consistency(0, EMPTY_ROOT, 0, bytes(32), [])
    with refused(Reason.PROOF_INVALID):
        verify_consistency(0, bytes(32), 0, bytes(32), [])
