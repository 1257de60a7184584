"""Builds an engine of its own process from its configuration: the one place of its parts."""

import secrets
from datetime import UTC, datetime

from gateway.opening import open_store
from inference.batching import OperatorBounds
from inference.cpu import CpuSettings
from inference.engine import Engine, TrustAnchor
from inference.loading import LocalLoader
from inference.remote.host import Host
from inference.remote.server import Server
from inference.remote.settings import EngineConfig
from inference.remote.tally import Tally
from inference.seen import SeenFile
from sealgate.reasons import Refusal
from sealgate.settings import ConfigError
from sealgate.trust.engine_counts import INSTANCE_BYTES
from sealgate.trust.keys import PublicKey, load_private_key


def build(config: EngineConfig) -> Server:
    """Binds the listener and opens what the engine has of its own; `start` begins to answer.

    Raises: ConfigError.
    """
    artifacts = config.artifacts
    try:
        keys = [PublicKey.from_pem(path.read_text()) for path in config.trust.root_keys]
        anchor = TrustAnchor({key.keyid: key for key in keys}, config.trust.threshold)
        store = open_store("[artifacts] place", artifacts.place, artifacts.bucket, create=False)
        instance = secrets.token_hex(INSTANCE_BYTES)
        tally = Tally(config.engine.name, instance, load_private_key(config.engine.key), now)
        seen = SeenFile.open(config.trust.seen)
        cpu = CpuSettings.detect(config.runtime.threads_per_run)
        loader = LocalLoader(cpu, OperatorBounds(config.batching), config.runtime)
        engine = Engine(anchor, seen, now, loader)
        host = Host(engine, seen, store, tally, now, config.limits.deadline)
        return Server(config, host)
    except Refusal as refusal:
        raise ConfigError(f"{refusal.reason.name}: {refusal.detail}") from refusal
    except OSError as error:
        raise ConfigError(f"cannot read {error.filename}: {error.strerror}") from error


def now() -> datetime:
    return datetime.now(UTC)
