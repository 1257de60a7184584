"""Health checks of a gateway from a caller's side: golden inputs, freshness, certificates.

It comes with every client, without the server's libraries. `sealgate doctor` looks at a server's
machine and databases, so it is in `gateway.doctor` (ADR 22).
"""
