import pytest

from console.config import ConsoleConfig
from sealgate.settings import ConfigError
from sealgate.setup.configuration import console_configuration


@pytest.fixture
def read(tmp_path):
    def read(*changes):
        text = console_configuration(8445, 8444, ["trust/root-1.pem"], 1)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "console.toml"
        path.write_text(text)
        return ConsoleConfig.read(path)

    return read


def test_a_new_installation_listens_on_loopback_without_tls(read, tmp_path):
    config = read()
    assert (config.listen.host, config.listen.port) == ("127.0.0.1", 8445)
    assert config.listen.authority == "localhost:8445"
    assert config.links.folder == tmp_path / "console-links"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ([('"127.0.0.1:8445"', '"0.0.0.0:8445"')], "certificate and key are needed"),
        ([('"http://localhost:8445"', '"http://console.example"')], "http://localhost"),
        ([('"http://localhost:8445"', '"https://localhost:8445"')], "where there is a certificate"),
        ([('"http://localhost:8445"', '"localhost"')], "is not like https://host:port"),
        ([('"127.0.0.1:8445"', '"127.0.0.1"')], "not of the form host:port"),
        ([('folder = "console-links"', "")], "nobody could sign in"),
        ([("[links]", "[oidc]\nissuer = 'https://id.example'\n[links]")], "belong together"),
        (
            [("[links]", "[oidc]\nissuer = 'http://id.example'\nclient_id = 'c'\n[links]")],
            "is not https",
        ),
        (
            [
                (
                    "[links]",
                    "[oidc]\nissuer = 'https://id.example'\nclient_id = 'c'\nscope = 'x'\n[links]",
                )
            ],
            "scope needs openid",
        ),
        (
            [('"http://localhost:8445"', '"https://console.example"\ncertificate = "c.pem"')],
            "belong together",
        ),
    ],
)
def test_what_would_be_unsafe_does_not_start(read, changes, says):
    with pytest.raises(ConfigError, match=says):
        read(*changes)


def test_with_a_certificate_it_may_be_reached_by_others(read):
    config = read(
        ('"127.0.0.1:8445"', '"0.0.0.0:443"'),
        (
            '"http://localhost:8445"',
            '"https://console.example"\ncertificate = "c.pem"\nkey = "c.key"',
        ),
    )
    assert config.listen.authority == "console.example"
