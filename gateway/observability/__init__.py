"""Metrics, readiness, and what they are read from."""

from gateway.observability.certificates import Certificates
from gateway.observability.collector import GatewayMetrics, Sources
from gateway.observability.engine import EngineMetrics
from gateway.observability.history import StatisticsHistory
from gateway.observability.readiness import GatewayReadiness, Phase

__all__ = [
    "Certificates",
    "EngineMetrics",
    "GatewayMetrics",
    "GatewayReadiness",
    "Phase",
    "Sources",
    "StatisticsHistory",
]
