"""The web console: pages for admins, approvers and auditors, served by a process of its own.

It is a plain gRPC client of the gateway, with no database, no log key and no signing key. Each call
carries the token of the person who looks at the page.
"""
