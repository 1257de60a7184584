"""Security events for a SIEM: refused credentials, adversarial inputs, altered versions."""

from gateway.security_events.kinds import EventKind as EventKind
from gateway.security_events.kinds import SecurityEvent as SecurityEvent
from gateway.security_events.kinds import event_of_call as event_of_call
from gateway.security_events.kinds import tampering as tampering
