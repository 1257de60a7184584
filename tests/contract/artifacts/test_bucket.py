"""What holds for a bucket alone: how it is reached, and what goes wrong on the way."""

from dataclasses import replace

import pytest

from registry.buckets import Bucket
from sealgate.reasons import Reason
from sealgate.trust.digest import sha256
from tests.contract.artifacts.conftest import BucketPlace
from tests.support import oracles
from tests.support.people import refused

DATA = b"weights"
DIGEST = sha256(DATA)


@pytest.fixture
def place(bucket_server) -> BucketPlace:
    from registry.artifact_bucket import BucketStore

    bucket = bucket_server.bucket()
    return BucketPlace(bucket_server, bucket, BucketStore(bucket))


def open_bucket(bucket: Bucket):
    oracles.package("obstore")
    from registry.artifact_bucket import BucketStore

    return BucketStore(bucket)


def test_an_object_lies_under_the_prefix_and_its_digest(place):
    place.store.put([DATA], len(DATA), DIGEST)
    (found,) = place.server.client.list_objects_v2(Bucket=place.bucket.name)["Contents"]
    assert found["Key"] == f"models/v1/{DIGEST[7:9]}/{DIGEST[9:]}"


def test_two_prefixes_are_two_stores(place):
    place.store.put([DATA], len(DATA), DIGEST)
    other = open_bucket(replace(place.bucket, prefix="models/v2"))
    assert DIGEST not in other
    assert list(other.files()) == []


def test_a_bucket_that_there_never_was(place):
    with refused(Reason.REGISTRY_UNAVAILABLE):
        open_bucket(replace(place.bucket, name="never-made"))


def test_a_service_that_does_not_answer():
    with refused(Reason.REGISTRY_UNAVAILABLE):
        open_bucket(Bucket("artifacts", "", "http://127.0.0.1:9", "us-east-1"))


def test_a_bucket_that_goes_makes_no_version_look_altered(place):
    place.store.put([DATA], len(DATA), DIGEST)
    place.break_down()
    for ask in (
        lambda: place.store.read(DIGEST, len(DATA)),
        lambda: place.store.check(DIGEST, len(DATA)),
        lambda: DIGEST in place.store,
    ):
        with refused(Reason.REGISTRY_UNAVAILABLE):
            ask()
