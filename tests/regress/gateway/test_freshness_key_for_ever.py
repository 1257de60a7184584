"""The freshness key could not be replaced: a gateway that started with a new one took the statement
that the old one had signed for a forgery.
"""

from sealgate.trust.keys import PrivateKey, write_private_file
from tests.support.house import question, rows, running
from tests.support.succession import change, person


def test_a_freshness_key_is_replaced(tmp_path):
    new = PrivateKey.generate()
    with running(tmp_path / "state", "digits-1") as house:
        house.promote("digits", 1)

        def add(changed):
            changed["keys"][new.public.keyid] = new.public.pem
            person(changed, "freshness")["keys"].append(new.public.keyid)

        change(house, add)
        house.stop()
        path = house.state / "keys" / "freshness.key"
        path.unlink()
        write_private_file(path, new.to_pem())
        house.start()
        house.await_version("digits", 1)
        change(house, lambda changed: person(changed, "freshness").update(keys=[new.public.keyid]))
        answer = house.inference().ModelInfer(question("digits", rows()), timeout=60)
        assert answer.model_version == "1"
