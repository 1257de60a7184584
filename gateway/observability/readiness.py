"""Whether the gateway can answer requests, in one word for whoever spreads them."""

import threading
from enum import Enum

from inference.engine.engine import Engine
from sealgate.reasons import Reason


class Phase(Enum):
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class GatewayReadiness:
    """Ready is who serves under a policy in force, or in its grace, and may still write its log.

    Which versions are live is not looked at: a gateway without any is ready for its first.
    """

    def __init__(self, engine: Engine, fenced: threading.Event) -> None:
        self._engine = engine
        self._fenced = fenced
        self.phase = Phase.STARTING

    def obstacle(self) -> str:
        """Why it is not ready: its phase or a reason's name; empty where it is."""
        if self.phase is not Phase.SERVING:
            return self.phase.value
        if self._fenced.is_set():
            return Reason.LOG_FENCED.name
        return Reason.POLICY_EXPIRED.name if self._engine.is_over else ""
