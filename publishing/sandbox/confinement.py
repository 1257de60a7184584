"""How the worker that runs an unapproved model is confined."""

from dataclasses import dataclass, field

from registry.sandbox.confinement import SandboxLimits


@dataclass(frozen=True, slots=True)
class Confinement:
    """How the worker is confined; with `unsafe` it also runs if this system cannot confine it."""

    limits: SandboxLimits = field(default_factory=SandboxLimits)
    unsafe: bool = False
