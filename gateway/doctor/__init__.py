"""`sealgate doctor`: what this machine has, what fits it, and what is wrong.

It opens a server's databases and settings, so it needs the extra `serve`. `sealgate health` asks a
gateway from outside and comes with every client, so it is in `sealgate.health` (ADR 22).
"""
