"""A statement of freshness that was signed while a clock was days ahead stayed the newest. Nobody
believes one from the future, so a gateway that was started afterwards answered nothing.
"""

from datetime import timedelta
from pathlib import Path

from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Freshness
from sealgate.trust.times import format_time
from tests.support.bureau import Bureau


def test_is_signed_anew(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path, f"sqlite:///{tmp_path}/registry.db").found()
    right = bureau.now
    bureau.now = right + timedelta(days=3)
    assert bureau.registry.refresh()
    bureau.now = right
    assert bureau.registry.refresh()
    statement = Envelope.decode(bureau.registry.snapshot().freshness)
    assert Freshness.decode(statement.payload).issued == format_time(right)
    assert not bureau.registry.refresh()
    # By as much as clocks may differ it may be ahead.
    bureau.now = right - timedelta(minutes=4)
    assert not bureau.registry.refresh()
    bureau.registry.close()
