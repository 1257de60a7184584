"""The demo's models, each loaded once."""

import pytest
import torch

from tests.support.builders.models.demo_models import FOLDERS, DemoModel


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # With more, small operations wait for one another.
    torch.set_num_threads(1)


# The demo serves the hardened one in CI, to clean and to attacked rows.
@pytest.fixture(
    scope="session",
    params=[
        pytest.param(folder, marks=pytest.mark.slow) if folder == "digits-hardened" else folder
        for folder in FOLDERS
    ],
)
def demo(request: pytest.FixtureRequest) -> DemoModel:
    return DemoModel.load(request.param)


@pytest.fixture(scope="session")
def digits() -> DemoModel:
    return DemoModel.load("digits-standard")
