"""The demo's models, each loaded once."""

import pytest
import torch

from tests.support.builders.models.demo_models import FOLDERS, DemoModel


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # With more, small operations wait for one another.
    torch.set_num_threads(1)


@pytest.fixture(scope="session", params=FOLDERS)
def demo(request: pytest.FixtureRequest) -> DemoModel:
    return DemoModel.load(request.param)


@pytest.fixture(scope="session")
def digits() -> DemoModel:
    return DemoModel.load("digits-standard")
