"""The gRPC services: messages in, messages out."""

from gateway.services.audit import AuditService, LogService
from gateway.services.credentials import CredentialService
from gateway.services.event_streams import EventStreams
from gateway.services.health import SERVICES, HealthService, add_reflection
from gateway.services.inference import InferenceService
from gateway.services.outcomes import OutcomeService
from gateway.services.registry import PolicyService, RegistryService
from gateway.services.uploads import UploadService

__all__ = [
    "SERVICES",
    "AuditService",
    "CredentialService",
    "EventStreams",
    "HealthService",
    "InferenceService",
    "LogService",
    "OutcomeService",
    "PolicyService",
    "RegistryService",
    "UploadService",
    "add_reflection",
]
