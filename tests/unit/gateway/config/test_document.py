"""The configuration: strict, and nothing is open unless it was asked for in so many words."""

import pytest

from gateway.config.document import GatewayConfig
from gateway.config.sections import is_loopback
from registry.storage.artifacts import Bucket
from sealgate.settings import ConfigError

GOOD = """
[listen]
tls = "127.0.0.1:8443"
mutual = "127.0.0.1:8444"
[tls]
certificate = "gateway.pem"
key = "gateway.key"
client_authority = "callers.pem"
[[tokens]]
url = "https://issuer.example"
audience = "sealgate"
key_set = "jwks.json"
[trust]
root_keys = ["root.pem"]
threshold = 1
policy = "policy.json"
seen = "seen.json"
[registry]
database = "sqlite:///registry.db"
artifacts = "artifacts"
uploads = "uploads"
origin = "example/registry"
log_key = "registry.key"
freshness_key = "freshness.key"
[answers]
database = "answers.db"
subjects = "subjects.db"
origin = "example/answers"
log_key = "answers.key"
"""


def read(tmp_path, text):
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    return GatewayConfig.read(path)


def test_paths_start_at_the_file(tmp_path):
    config = read(tmp_path, GOOD)
    assert config.tls.key == tmp_path / "gateway.key"
    assert config.trust.root_keys == (tmp_path / "root.pem",)
    assert config.registry.database == f"sqlite:///{tmp_path.resolve()}/registry.db"
    assert config.answers.database == tmp_path / "answers.db"


def test_each_database_may_be_a_url(tmp_path):
    url = "postgresql://sealgate@db.example/sealgate?schema=answers_1"
    text = GOOD.replace("sqlite:///registry.db", url).replace('"answers.db"', f'"{url}"')
    config = read(tmp_path, text.replace('"subjects.db"', '"sqlite:///subjects.db"'))
    assert config.registry.database == config.answers.database == url
    assert config.answers.subjects == f"sqlite:///{tmp_path.resolve()}/subjects.db"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('tls = "127.0.0.1:8443"', 'insecure = "0.0.0.0:80"', "without TLS beyond this machine"),
        ('tls = "127.0.0.1:8443"', 'insecure = "[::]:80"', "without TLS beyond this machine"),
        ('tls = "127.0.0.1:8443"', 'insecure = "gateway.example:80"', "use 127.0.0.1"),
        ('certificate = "gateway.pem"', "", "certificate and key are needed"),
        ('client_authority = "callers.pem"', "", "client_authority is needed"),
        ('key_set = "jwks.json"', "", "key_set"),
        ("threshold = 1", "threshold = 2", "threshold must lie"),
        ("threshold = 1", "threshold = 0", "must be positive"),
        ("threshold = 1", 'threshold = "1"', "must be of type int"),
        ("threshold = 1", "threshold = true", "must be of type int"),
        ('seen = "seen.json"', 'sene = "seen.json"', "no setting 'sene'"),
        ('seen = "seen.json"', "", "seen"),
        ("[answers]", "[answer]", "unknown section"),
        ('tls = "127.0.0.1:8443"', 'tls = "127.0.0.1"', "host:port"),
        ('tls = "127.0.0.1:8443"', 'tls = "127.0.0.1:65536"', "host:port"),
        ('tls = "127.0.0.1:8443"\nmutual = "127.0.0.1:8444"', "", "names no address"),
        ("[listen]", "[listen", "is not TOML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, old, new, words):
    assert old in GOOD
    with pytest.raises(ConfigError, match=words.replace("[", r"\[")):
        read(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("[[quotas]]\ndaily = 5", "either a principal or a role"),
        ('[[quotas]]\nrole = "client"\nprincipal = "x"\ndaily = 5', "either a principal or a role"),
        ('[[quotas]]\nrole = "client"', "sets rate, concurrent, daily or tokens"),
        ('[[quotas]]\nrole = "client"\ndaily = 0', "must be positive"),
        ('[[quotas]]\nrole = "client"\nrate = "fast"', "is not like"),
        ('[[quotas]]\nrole = "client"\nrate = "0/second"', "is not like"),
        ('[[quotas]]\nrole = "client"\nrate = "1/second; 2/hour"', "is not like"),
        ('[[quotas]]\nrole = "client"\nweekly = 5', "no setting 'weekly'"),
        ('[[quotas]]\nrole = "client"\ndaily = 5\n' * 2, "twice"),
    ],
)
def test_quotas_that_are_refused(tmp_path, section, words):
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, f"{GOOD}\n{section}")


def test_quotas_are_read(tmp_path):
    section = '[[quotas]]\nrole = "client"\nrate = "100/second"\nconcurrent = 8\ndaily = 10000'
    (quota,) = read(tmp_path, f"{GOOD}\n{section}").quotas
    assert (quota.role, quota.rate, quota.concurrent, quota.daily) == (
        "client",
        "100/second",
        8,
        10000,
    )


def test_no_issuer_means_nobody_could_authenticate(tmp_path):
    head, _, tail = GOOD.partition("[[tokens]]")
    with pytest.raises(ConfigError, match="nobody could authenticate"):
        read(tmp_path, head + "[trust]" + tail.partition("[trust]")[2])


def test_missing_file_names_the_way_out(tmp_path):
    with pytest.raises(ConfigError, match="sealgate init"):
        GatewayConfig.read(tmp_path / "none.toml")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_loopback(host):
    assert is_loopback(f"{host}:1")


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "10.0.0.1", "example.com", ""])
def test_not_loopback(host):
    assert not is_loopback(f"{host}:1")


KEY_SET = 'key_set = "jwks.json"'


@pytest.mark.parametrize(
    "lines",
    [
        'key_set_url = "https://issuer.example/keys"\nauthority = "issuer.pem"\nstale = 900',
        "discovery = true\nrefresh = 60",
        'key_set_url = "http://127.0.0.1:1/keys"\ninsecure_loopback = true',
    ],
)
def test_where_an_issuers_keys_may_be(tmp_path, lines):
    (entry,) = read(tmp_path, GOOD.replace(KEY_SET, lines)).tokens
    assert entry.key_set is None
    assert entry.authority in (None, tmp_path / "issuer.pem")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (KEY_SET + "\ndiscovery = true", "needs one of"),
        ("discovery = false", "needs one of"),
        ("discovery = 1", "must be of type bool"),
        ('key_set_url = "http://issuer.example/keys"', "not an https address"),
        ('key_set_url = "http://127.0.0.1:1/keys"', "not an https address"),
        (
            'key_set_url = "http://10.0.0.1/keys"\ninsecure_loopback = true',
            "not an https address",
        ),
        ("discovery = true\nrefresh = 60\nstale = 30", "stale"),
        ("discovery = true\nrefresh = 0", "must be positive"),
    ],
)
def test_where_an_issuers_keys_may_not_be(tmp_path, lines, words):
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, GOOD.replace(KEY_SET, lines))


def test_the_secret_of_api_keys(tmp_path):
    assert read(tmp_path, GOOD).api_keys.mac_key is None
    config = read(tmp_path, GOOD + '[api_keys]\nmac_key = "api.key"\n')
    assert config.api_keys.mac_key == tmp_path / "api.key"
    with pytest.raises(ConfigError, match="no setting"):
        read(tmp_path, GOOD + '[api_keys]\nkey = "api.key"\n')


def test_artifacts_may_be_in_a_bucket(tmp_path):
    settings = 'artifacts = "s3://models/v1"\nartifacts_endpoint = "https://s3.example"\n'
    text = GOOD.replace('artifacts = "artifacts"', settings + 'artifacts_region = "eu-west-1"')
    store = read(tmp_path, text).registry
    assert store.bucket(store.artifacts) == Bucket(
        "models", "v1", "https://s3.example", "eu-west-1"
    )
    assert read(tmp_path, GOOD).registry.artifacts == tmp_path / "artifacts"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('artifacts = "s3://key:hunter2@models"', "never in the URL"),
        ('artifacts = "gs://models"', "s3://bucket/prefix"),
        ('artifacts = "s3://models"\nartifacts_endpoint = "http://s3.example"', "on this machine"),
        ('artifacts = "artifacts"\nartifacts_region = "eu-west-1"', "is a folder here"),
    ],
)
def test_artifact_stores_that_are_refused(tmp_path, settings, words):
    with pytest.raises(ConfigError, match=words) as caught:
        read(tmp_path, GOOD.replace('artifacts = "artifacts"', settings))
    assert "hunter2" not in str(caught.value)


def test_the_environment(tmp_path):
    assert read(tmp_path, GOOD).gateway.environment == ""
    assert read(tmp_path, GOOD + '[gateway]\nenvironment = "staging"\n').gateway.environment == (
        "staging"
    )
    with pytest.raises(ConfigError, match="environment"):
        read(tmp_path, GOOD + '[gateway]\nenvironment = "Staging 2"\n')
