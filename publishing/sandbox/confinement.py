"""How the worker that runs an unapproved model is confined."""

from dataclasses import dataclass, field

from registry.sandbox.confinement import SandboxLimits


@dataclass(frozen=True, slots=True)
class Confinement:
    """How the worker is shut in; `unsafe` goes on where this system cannot do it."""

    limits: SandboxLimits = field(default_factory=SandboxLimits)
    unsafe: bool = False
