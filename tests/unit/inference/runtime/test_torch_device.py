"""Devices of torch on simulated machines: the one that is asked for, or none."""

import pytest

from inference.runtime.providers import TorchDevice, check_device, devices_of, select_device
from sealgate.settings import ConfigError
from tests.support.fakes.torch_cards import torch_with

TWO_CARDS = torch_with(2)
AMD = torch_with(1, hip="6.4")
APPLE = torch_with(mps=True)
NOTHING = torch_with()


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:100", "mps:0", "cuda,cpu", ""])
def test_an_unknown_name_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match=r"\[devices\] device = .* is none of cpu, cuda"):
        check_device("devices", device, fallback=False)


def test_the_cpu_has_nothing_to_fall_back_to() -> None:
    with pytest.raises(ConfigError, match="already the device"):
        check_device("devices", "cpu", fallback=True)
    check_device("devices", "cuda:1", fallback=True)


@pytest.mark.parametrize(
    ("there", "device", "found"),
    [
        (NOTHING, "cpu", TorchDevice()),
        (TWO_CARDS, "cpu", TorchDevice()),
        (TWO_CARDS, "cuda", TorchDevice("cuda:0", "cuda", "Card 0")),
        (TWO_CARDS, "cuda:1", TorchDevice("cuda:1", "cuda:1", "Card 1")),
        (AMD, "rocm", TorchDevice("cuda:0", "rocm", "Card 0")),
        (APPLE, "mps", TorchDevice("mps", "mps", "Apple")),
    ],
)
def test_a_device_that_is_there_is_used(there: object, device: str, found: TorchDevice) -> None:
    assert select_device("devices", device, False, there) == found


@pytest.mark.parametrize(
    ("there", "device"),
    [
        (NOTHING, "cuda"),
        (NOTHING, "mps"),
        (TWO_CARDS, "cuda:2"),
        # A card of AMD is not one of NVIDIA, whatever torch calls it.
        (AMD, "cuda"),
        (TWO_CARDS, "rocm"),
    ],
)
def test_a_device_that_is_not_there_is_refused_by_name_or_falls_back(
    there: object, device: str
) -> None:
    with pytest.raises(ConfigError, match=f"device = '{device}' cannot be used here"):
        select_device("generation", device, False, there)
    found = select_device("generation", device, True, there)
    assert (found.name, found.place) == ("cpu", f"cpu for want of {device}")


def test_a_refusal_names_what_there_is() -> None:
    with pytest.raises(ConfigError, match="has cpu, cuda:0, cuda:1;"):
        select_device("devices", "mps", False, TWO_CARDS)
    assert list(devices_of(AMD)) == ["cpu", "rocm:0"]


def test_records_name_the_card() -> None:
    assert select_device("devices", "cuda", False, TWO_CARDS).said == "cuda (Card 0)"
    assert select_device("devices", "cuda", True, NOTHING).said == "cpu for want of cuda"
