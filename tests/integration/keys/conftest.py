"""One token for this folder's tests, whose keys are named by scheme."""

import pytest

from tests.support.oracles import programs


@pytest.fixture(scope="session")
def token(tmp_path_factory):
    programs.package("pkcs11")
    from tests.support.harness.servers.softhsm import soft_token

    token = soft_token(tmp_path_factory.mktemp("hsm"))
    token.make("ed25519", "registry-log", "answers", "freshness", "anna-ed")
    token.make("p256", "anna", "root-1", "paula-models")
    token.make("p384", "too-large")
    return token
