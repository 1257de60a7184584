"""The texts of `make bench NAME=answers`: right values where something is to be found."""

from stdnum import iban, luhn
from stdnum.be import nn
from stdnum.es import dni
from stdnum.fr import nir
from stdnum.pl import pesel
from stdnum.us import ssn

from benchmarks.answers.texts import HARMLESS, PERSONAL, Draw, labelled, parts_of

CHECKS = {
    "IBAN": iban.is_valid,
    "card number": lambda value: luhn.is_valid(value.replace(" ", "").replace("-", "")),
    "US social security number": ssn.is_valid,
    "French NIR": nir.is_valid,
    "Spanish DNI": dni.is_valid,
    "Belgian number": nn.is_valid,
    "Polish PESEL": pesel.is_valid,
}


def test_numbers_have_right_check_digits_and_altered_ones_wrong_ones() -> None:
    draw = Draw(1)
    for kind, check in CHECKS.items():
        assert all(check(PERSONAL[kind](draw)) for _ in range(50)), kind
    for kind in ("French NIR, wrong digit", "Spanish DNI, wrong letter"):
        check = CHECKS[kind.partition(",")[0]]
        assert not any(check(HARMLESS[kind](draw)) for _ in range(50)), kind


def test_pieces_make_the_text_again() -> None:
    for each in labelled(6, seed=2):
        assert each.value in each.text
        assert "".join(parts_of(each.text)) == each.text
