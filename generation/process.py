"""Builds a generator from its configuration: the one place of its parts."""

import secrets
from pathlib import Path

from generation.loader import GeneratorLoader
from generation.service import GenerationService
from generation.settings import GeneratorConfig
from inference.engine.engine import Engine, TrustAnchor
from inference.engine.rollback_guard import SeenFile
from inference.server.host import Host, Tally
from inference.server.server import Server
from registry.artifact_folder import FolderStore
from registry.artifacts import ArtifactStore
from sealgate.reasons import Refusal
from sealgate.settings import ConfigError
from sealgate.steady_clock import now
from sealgate.trust.keys import PublicKey, load_private_key
from sealgate.trust.statements.engine_counts import INSTANCE_BYTES

_SEEDS = 2**53


def build(config: GeneratorConfig) -> Server:
    """Binds the listener and opens what the generator has of its own; `start` begins to answer.

    Raises: ConfigError.
    """
    try:
        keys = [PublicKey.from_pem(path.read_text()) for path in config.trust.root_keys]
        anchor = TrustAnchor({key.keyid: key for key in keys}, config.trust.threshold)
        instance = secrets.token_hex(INSTANCE_BYTES)
        tally = Tally(config.engine.name, instance, load_private_key(config.engine.key), now)
        seen = SeenFile.open(config.trust.seen)
        engine = Engine(anchor, seen, now, GeneratorLoader(config.generation))
        host = Host(engine, seen, _store(config), tally, now, config.limits.deadline)
        service = GenerationService(host, config.limits.deadline, lambda: secrets.randbelow(_SEEDS))
        return Server(config.as_engine(), host, service)
    except Refusal as refusal:
        raise ConfigError(f"{refusal.reason.name}: {refusal.detail}") from refusal
    except OSError as error:
        raise ConfigError(f"cannot read {error.filename}: {error.strerror}") from error


def _store(config: GeneratorConfig) -> ArtifactStore:
    place = config.artifacts.place
    if isinstance(place, Path):
        return FolderStore(place, read_only=True)
    try:
        # Only the extra `s3` brings what this needs.
        from registry.artifact_bucket import BucketStore
    except ImportError as error:
        raise ConfigError("obstore is not installed: pip install 'sealgate[s3]'") from error
    return BucketStore(config.artifacts.bucket(place))
