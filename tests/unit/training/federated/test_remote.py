"""The invitations of `sealgate federate server`, and its report of a run; a stand-in serves."""

import json
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sealgate.reasons import Reason, SealgateError
from sealgate.setup.credentials import CertificateAuthority
from sealgate.trust.canonical import sha256
from tests.support.builders.training.federated_recipes import PERCEPTRON, written
from training.federated.enrolment import FederationInvitation, RowShape, digest_of
from training.federated.http_requests import EntryTerms
from training.federated.launch import ProcessFolders
from training.federated.remote import RemoteFederation, ServerPlace

FEDERATED = "[federated]\nrounds = 1\nepochs = 1\nrows = 60\n"
PRIVATE = "[private]\nepsilon = {}\ndelta = 1e-3\nnoise = 2.0\n"
# Keeps all that it finds, lets nine clients enrol, and does one round in two tries.
SERVER = """
import json, shutil, sys
from pathlib import Path
kept, folder = map(Path, sys.argv[1:])
shutil.copytree(folder.parent, kept)
rows = [
    {"key": f"key {at}", "token": "sha256:" + 64 * "0", "signature": "", "address": f"192.0.2.{at}"}
    for at in range(9)
]
(folder / "address.json").write_text(json.dumps({"address": "127.0.0.1:1"}))
(folder / "enrolled.json").write_text(json.dumps(rows))
(folder / "rounds").mkdir()
shutil.copy(folder / "weights.safetensors", folder / "rounds" / "001.safetensors")
groups = {"groups": [[0, 1, 2], [3, 4, 5], [6, 7, 8]], "broken": [], "tries": 2}
told = folder / "rounds" / "001.json"
told.with_suffix(".new").write_text(json.dumps({"round": 1, **groups}))
told.with_suffix(".new").rename(told)
"""


@dataclass
class Served:
    folder: Path
    place: ServerPlace
    news: list[str] = field(default_factory=list)

    @property
    def kept(self) -> Path:
        return self.folder / "kept"

    def train(self, *more: str) -> tuple[Any, Any]:
        """The account, and the privacy spent."""
        recipe = written(self.folder, PERCEPTRON, FEDERATED, *more)
        server = ("-c", SERVER, str(self.kept))
        federation = RemoteFederation(
            recipe,
            self.folder / "made",
            lambda step, news: self.news.append(f"{step} {news}"),
            self.place,
            server,
        )
        folders = ProcessFolders(self.folder / "made" / "run")
        _, account, spent = federation.train(federation.material(), folders)
        return account, spent

    def invitations(self) -> list[FederationInvitation]:
        files = sorted((self.kept / "invitations").iterdir())
        return [FederationInvitation.decode(file.read_bytes()) for file in files]


@pytest.fixture
def served(tmp_path: Path) -> Served:
    place = ServerPlace("0.0.0.0", 0, "federation.example:8443", timedelta(hours=1))
    return Served(tmp_path, place)


def test_each_client_gets_an_invitation_and_the_server_digests(served: Served) -> None:
    served.train()
    found = served.invitations()
    assert len({one.token for one in found}) == 9
    terms = EntryTerms.read(served.kept / "server" / "entry.json")
    assert [digest_of(one.token) for one in found] == list(terms.tokens)
    recipe = (served.folder / "federated.toml").read_text()
    for one in found:
        assert (one.server, one.recipe) == ("federation.example:8443", recipe)
        assert one.rows == RowShape((64,), 10, 0.0, 1.0)
        assert sha256(one.authority.encode()) == terms.server
        assert one.until == terms.until
    assert sha256(recipe.encode()) == terms.recipe
    assert (terms.host, terms.port) == ("0.0.0.0", 0)
    assert timedelta(minutes=50) < terms.until - datetime.now(UTC) <= timedelta(hours=1)
    files = [path for path in (served.kept / "server").rglob("*") if path.is_file()]
    assert not any(one.token.encode() in path.read_bytes() for one in found for path in files)
    assert (served.kept / "invitations").stat().st_mode & 0o077 == 0


def test_the_certificate_is_one_of_the_runs_own_authority(served: Served) -> None:
    served.train()
    own = x509.load_pem_x509_certificate((served.kept / "server" / "server.pem").read_bytes())
    trusted = x509.load_pem_x509_certificate(served.invitations()[0].authority.encode())
    own.verify_directly_issued_by(trusted)
    names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["federation.example"]
    key = load_pem_private_key((served.kept / "server" / "key.pem").read_bytes(), None)
    assert key.public_key() == own.public_key()
    assert not list(served.kept.rglob("*authority*key*"))


def test_a_certificate_may_be_given(served: Served) -> None:
    authority = CertificateAuthority("ours", datetime.now(UTC), timedelta(days=1))
    own = authority.server("server", ("federation.example",))
    served.place = ServerPlace(
        "127.0.0.1", 0, "federation.example:8443", timedelta(hours=1), (own, authority.pem)
    )
    account, _ = served.train()
    assert {one.authority for one in served.invitations()} == {authority.pem.decode()}
    assert (served.kept / "server" / "server.pem").read_bytes() == own.certificate
    assert account["server"] == sha256(authority.pem)
    ssl.create_default_context(cadata=served.invitations()[0].authority)


def test_the_account_names_participants_and_not_their_addresses(served: Served) -> None:
    account, spent = served.train()
    assert spent is None
    assert [each["key"] for each in account["participants"]] == [f"key {at}" for at in range(9)]
    assert "192.0.2." not in json.dumps(account)
    assert any(news == "enrolled 9 of 9, from 192.0.2.8" for news in served.news)
    assert account["rounds"][0]["tries"] == 2
    assert account["weights"].startswith("sha256:")


def test_privacy_is_that_of_a_client_of_the_fewest_rows(served: Served) -> None:
    # Two tries of one epoch, of four batches of 16 rows each.
    _, spent = served.train(PRIVATE.format(100.0))
    assert (spent["steps"], spent["sampling_rate"]) == (8, 0.25)
    assert 0 < spent["epsilon"] <= 100.0


def test_no_client_spends_more_than_its_budget(served: Served) -> None:
    _, twice = served.train(PRIVATE.format(100.0))
    other = Served(served.folder / "other", served.place)
    other.folder.mkdir()
    # One try fits, two do not: a client would refuse the second.
    _, once = other.train(PRIVATE.format(round(twice["epsilon"] - 0.01, 3)))
    assert once["steps"] == 4


def test_a_budget_that_not_all_rounds_fit_is_refused(served: Served) -> None:
    with pytest.raises(SealgateError) as refused:
        served.train(PRIVATE.format(0.5))
    assert refused.value.reason is Reason.RECIPE_INVALID
    assert "[federated] rows" in refused.value.detail
    assert not served.kept.exists()


def test_the_servers_rows_need_no_train_slice(served: Served) -> None:
    recipe = written(served.folder, PERCEPTRON, FEDERATED)
    text = recipe.read_text().replace("train = 900", "train = 1")
    recipe.write_text(text)
    federation = RemoteFederation(recipe, served.folder, lambda *_: None, served.place)
    assert len(federation.material().slices["test"][1]) == 1797 - 401
