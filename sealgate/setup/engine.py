"""What an installation writes for an engine in a process of its own, on the same machine."""

SOCKET = "engine/engine.sock"
NAME = "engine"

GATEWAY_SECTION = f"""
# The engine is a process of its own: sealgate serve engine
[engine]
socket = "{SOCKET}"
"""


def configuration(root_keys: list[str], threshold: int) -> str:
    """The text of `engine.toml`."""
    return f"""\
# Paths are relative to this file.

[listen]
socket = "{SOCKET}"

[trust]
root_keys = {root_keys}
threshold = {threshold}
seen = "engine/seen.json"

# Read only.
[artifacts]
place = "artifacts"

[engine]
name = "{NAME}"
key = "keys/engine.key"
"""
