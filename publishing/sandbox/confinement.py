"""How the worker that runs an unapproved model is confined."""

from dataclasses import dataclass, field

from registry.sandbox.confinement import Limits


@dataclass(frozen=True, slots=True)
class Confinement:
    """How the worker is shut in; `unsafe` goes on where this system cannot do it."""

    limits: Limits = field(default_factory=Limits)
    unsafe: bool = False
