"""Signing in: one-time links, the OpenID provider, passkeys; and the pages for it."""
