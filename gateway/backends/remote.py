"""Opens the remote engines that the configuration names; none where it is this process itself."""

from collections.abc import Sequence

from gateway.config.engines import EngineSettings
from inference.backends.remote.endpoint import Endpoint, SocketEndpoint, TlsEndpoint
from inference.backends.remote.engine_pool import EnginePool
from inference.backends.remote.remote_engine import RemoteEngine
from sealgate.reasons import Reason, Refusal
from sealgate.settings import ConfigError


def open_rooms(engines: Sequence[EngineSettings]) -> EnginePool | None:
    """The rooms of other processes, if there are any. Raises: ConfigError."""
    rooms = [room for room in map(open_room, engines) if room is not None]
    return EnginePool(rooms) if rooms else None


def open_room(settings: EngineSettings, *, costs: bool = True) -> RemoteEngine | None:
    """The room of another process. It may be away for now, but not open to others. `costs`: see
    `RemoteEngine`.

    Raises: ConfigError.
    """
    door = _door(settings)
    if door is None:
        return None
    try:
        door.check()
    except Refusal as refusal:
        if refusal.reason is not Reason.ENGINE_UNAVAILABLE:
            raise ConfigError(f"{refusal.reason.name}: [engine] {refusal.detail}") from refusal
    return RemoteEngine(door, settings.name, costs=costs)


def _door(settings: EngineSettings) -> Endpoint | None:
    if settings.socket is not None:
        return SocketEndpoint(settings.socket)
    files = settings.certificate, settings.client_certificate, settings.client_key
    certificate, own, key = files
    if certificate is None or own is None or key is None:
        return None
    return TlsEndpoint(settings.address, certificate, own, key)
