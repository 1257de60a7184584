"""The gRPC services of a gateway, by their descriptors."""

from grpc_health.v1 import health_pb2

from gateway.services.reflection import REFLECTION
from sealgate.oip import grpc_service_pb2
from sealgate.v1 import (
    audit_pb2,
    credential_pb2,
    log_pb2,
    outcome_pb2,
    policy_pb2,
    registry_pb2,
    upload_pb2,
)

SERVICES = (
    grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"],
    registry_pb2.DESCRIPTOR.services_by_name["RegistryService"],
    upload_pb2.DESCRIPTOR.services_by_name["UploadService"],
    policy_pb2.DESCRIPTOR.services_by_name["PolicyService"],
    credential_pb2.DESCRIPTOR.services_by_name["CredentialService"],
    log_pb2.DESCRIPTOR.services_by_name["LogService"],
    audit_pb2.DESCRIPTOR.services_by_name["AuditService"],
    outcome_pb2.DESCRIPTOR.services_by_name["OutcomeService"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    *REFLECTION,
)
"""Every service that the gateway offers; each of their methods has a rule in
`gateway.auth.method_rules`.
"""
