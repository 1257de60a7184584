"""The simulated queues agree with the formulas that hold exactly, and with what is plain."""

import numpy as np
import pytest

from benchmarks.scale.__main__ import demand, grouped, poisson, waits
from benchmarks.scale.costs import Costs, line_through
from tests.support.oracles.queueing_formulas import mean_wait_md1, mean_wait_mmc

COSTS = Costs(0.0005, 0.0005, 0.0001, 0.001, 0.004, 0.002, 8e-6, 90e-6, 1000.0, 100.0, 6)


def test_one_server_with_equal_services_is_pollaczek_khinchines() -> None:
    random = np.random.default_rng(7)
    arrivals = poisson(800.0, 200_000, random)
    found = waits(arrivals, np.full(200_000, 1e-3)).mean()
    assert found == pytest.approx(mean_wait_md1(800.0, 1e-3), rel=0.05)


@pytest.mark.parametrize("servers", [1, 8])
def test_several_servers_with_random_services_are_erlangs(servers: int) -> None:
    random = np.random.default_rng(7)
    arrivals = poisson(700.0 * servers, 200_000, random)
    found = waits(arrivals, random.exponential(1e-3, 200_000), servers).mean()
    assert found == pytest.approx(mean_wait_mmc(700.0 * servers, 1e-3, servers), rel=0.1)


def test_erlangs_formula_for_one_server_is_the_known_one() -> None:
    assert mean_wait_mmc(700.0, 1e-3, 1) == pytest.approx(0.7 * 1e-3 / 0.3)


def test_what_comes_evenly_and_is_served_in_time_never_waits() -> None:
    assert waits(np.arange(1.0, 100.0), np.full(99, 0.9)).max() == 0
    assert waits(np.arange(1.0, 100.0), np.full(99, 1.9), servers=2).max() == pytest.approx(0)


def test_a_group_takes_all_who_wait_and_no_more_than_it_may() -> None:
    together = np.array([0.0, 0.1, 0.2, 0.3])
    # The first alone, until 1.1; then the other three.
    assert grouped(together, 1.0, 0.1, 9) == pytest.approx([1.1, 2.3, 2.2, 2.1])
    assert grouped(together, 1.0, 0.1, 2) == pytest.approx([1.1, 2.2, 2.1, 3.1])


def test_more_than_can_be_served_has_no_mean() -> None:
    with pytest.raises(ValueError, match="more than 2 serve"):
        mean_wait_mmc(2000.0, 1e-3, 2)
    with pytest.raises(ValueError, match="more than 1 serve"):
        mean_wait_md1(1000.0, 1e-3)


def test_what_gateways_ask_of_one_registry_grows_with_their_square() -> None:
    small, large = demand(10**5, COSTS), demand(10**6, COSTS)
    assert (small["gateways"], large["gateways"]) == (100, 1000)
    assert large["anchors_a_second"] == pytest.approx(10 * small["anchors_a_second"])
    assert large["look_cores"] == pytest.approx(100 * small["look_cores"])


def test_the_line_goes_through_the_smallest_and_the_largest_group() -> None:
    fixed, each = line_through({1: 0.6, 16: 3.0, 61: 6.6})
    assert (fixed, each) == (pytest.approx(0.5), pytest.approx(0.1))
