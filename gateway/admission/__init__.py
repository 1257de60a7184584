"""Admission control: quotas, stream limits, load shedding."""
