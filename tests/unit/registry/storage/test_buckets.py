"""Naming a bucket: no secret in the URL, and TLS beyond this machine."""

import pytest

from registry.storage.artifacts import Bucket


@pytest.mark.parametrize(
    ("url", "name", "prefix"),
    [
        ("s3://models", "models", ""),
        ("s3://models/", "models", ""),
        ("s3://models/sealgate/v1/", "models", "sealgate/v1"),
    ],
)
def test_a_bucket(url, name, prefix):
    assert Bucket.parse(url, "", "eu-west-1") == Bucket(name, prefix, "", "eu-west-1")


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:hunter2@models/v1",
        "s3://models?secret=hunter2",
        "s3://models/../hunter2",
        "s3://models//hunter2",
        "https://models/hunter2",
        "s3://",
        "s3://Models",
    ],
)
def test_what_is_no_bucket_is_not_repeated(url):
    with pytest.raises(ValueError, match="s3://bucket/prefix") as error:
        Bucket.parse(url, "", "")
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("endpoint", ["https://s3.example", "http://127.0.0.1:9000/"])
def test_an_endpoint(endpoint):
    assert Bucket.parse("s3://models", endpoint, "").endpoint == endpoint.rstrip("/")


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://s3.example",
        "https://key:hunter2@s3.example",
        "https://s3.example/path",
        "https://s3.example?hunter2",
        "https://s3.example:port",
        "s3.example",
    ],
)
def test_what_is_no_endpoint(endpoint):
    with pytest.raises(ValueError, match="needs an endpoint") as error:
        Bucket.parse("s3://models", endpoint, "")
    assert "hunter2" not in str(error.value)
