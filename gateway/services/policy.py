"""The policy's service: takes the next policy, which its signatures alone authorize."""

from gateway.services.request_fields import once
from gateway.transport.call import Call
from registry.policies import Policies
from sealgate.v1 import policy_pb2 as messages
from sealgate.v1.policy_pb2_grpc import PolicyServiceServicer


class PolicyService(PolicyServiceServicer):
    """Each call has passed the front door. The registry's chain decides; see `Policies.accept`."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    def AcceptPolicy(
        self, request: messages.AcceptPolicyRequest, call: Call
    ) -> messages.AcceptPolicyResponse:
        policy = self._policies.accept(
            call.principal.name, request.envelope, once(request), request.etag
        )
        return messages.AcceptPolicyResponse(version=policy.version, digest=policy.digest)
