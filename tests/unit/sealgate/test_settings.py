"""Settings and recipes refuse `nan` and `inf`."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError, check_host_port, read_settings, split_host_port
from tests.support.builders.training import recipes
from training.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Limits:
    seconds: float


@dataclass(frozen=True, slots=True)
class Settings:
    limits: Limits


@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "-inf"])
def test_nan_and_infinity_are_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(f"[limits]\nseconds = {value}\n")
    with pytest.raises(ConfigError, match=r"\[limits\] seconds must be a finite number"):
        read_settings(path, Settings)


def test_nan_and_infinity_are_refused_in_recipes(tmp_path: Path) -> None:
    private = recipes.PRIVATE.replace("epsilon = 2.0", "epsilon = inf")
    with pytest.raises(SealgateError) as found:
        Recipe.read(recipes.digits(tmp_path, recipes.PERCEPTRON, private))
    assert found.value.reason is Reason.RECIPE_INVALID


@pytest.mark.parametrize("address", ["localhost:0", "127.0.0.1:65535", "[::1]:8443"])
def test_addresses(address: str) -> None:
    check_host_port("[x] listen", address)


@pytest.mark.parametrize(
    "address",
    ["", "8443", ":8443", "[]:8443", "a:", "a:65536", "a:-1", "a:\u00b2", "a:\u0663", "a:000000"],
)
def test_what_is_no_host_and_port_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"\[x\] listen is not of the form host:port"):
        check_host_port("[x] listen", address)


def test_a_setting_may_leave_out_the_host_or_ask_for_a_port() -> None:
    check_host_port("[x] listen", ":8443", any_host=True)
    with pytest.raises(ConfigError, match="host:port"):
        check_host_port("[x] syslog", "a:0", least=1)


def test_an_address_is_split_without_brackets() -> None:
    assert split_host_port("[::1]:8443") == ("::1", "8443")
