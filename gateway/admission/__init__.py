"""Admission control: quotas, stream limits, load shedding."""

from gateway.admission.overload import CircuitBreaker, LoadShedder, Threads
from gateway.admission.quotas import COUNTED, QuotaLimiter, nothing
from gateway.admission.stream_limiter import StreamLimiter, WaitLimits
from gateway.admission.thread_shares import ThreadShares

__all__ = [
    "COUNTED",
    "CircuitBreaker",
    "LoadShedder",
    "QuotaLimiter",
    "StreamLimiter",
    "ThreadShares",
    "Threads",
    "WaitLimits",
    "nothing",
]
