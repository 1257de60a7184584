"""A server of the S3 protocol that we did not write: moto's, on a port of this machine."""

import itertools
import logging

from registry.storage.artifacts import Bucket
from tests.support.oracles import programs

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "sealgate", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}
REGION = "us-east-1"


class BucketServer:
    """A running server; whoever uses it sets CREDENTIALS in the environment."""

    def __init__(self) -> None:
        for module in ("moto", "flask", "obstore"):
            programs.package(module)
        import boto3
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        # The client of those who made the protocol; what it does is not done by our own code.
        self.client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )
        self._numbers = itertools.count()

    def bucket(self) -> Bucket:
        """A new, empty one, and a prefix in it."""
        name = f"artifacts-{next(self._numbers)}"
        self.client.create_bucket(Bucket=name)
        return Bucket(name, "models/v1", self.endpoint, REGION)

    def close(self) -> None:
        self._server.stop()
