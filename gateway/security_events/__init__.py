"""Security events for a SIEM: refused credentials, adversarial inputs, altered versions.

They are off unless `[security_events]` names a file or a syslog server. Events of one kind and
origin are grouped, so that a flood of them is a few lines with counts, and no kind is left out.
"""

from gateway.security_events.kinds import EventKind as EventKind
from gateway.security_events.kinds import SecurityEvent as SecurityEvent
from gateway.security_events.kinds import event_of_call as event_of_call
from gateway.security_events.kinds import tampering as tampering
from gateway.security_events.reporter import SecurityEventSettings as SecurityEventSettings
from gateway.security_events.reporter import is_on as is_on
from gateway.security_events.reporter import report as report
from gateway.security_events.reporter import start as start
from gateway.security_events.reporter import stop as stop
