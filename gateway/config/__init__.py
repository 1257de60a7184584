"""The configuration of gateways and engines: strict TOML, checked when it is read."""
