"""`sealgate doctor`: what this machine has, what fits it, and a configuration that matches."""

from typing import Any

import click

from gateway import fitting
from gateway.fitting import Tier
from inference.machine import Machine
from sealgate.cli.output import json_option, show_fields
from sealgate.cli.people import state_folder

_GIB = 1 << 30
_MILLION = 10**6


@click.command(
    epilog="""
\b
Examples:
  sealgate doctor
  sealgate doctor --settings gateway >> state/gateway.toml
  sealgate doctor --separate-engine --settings engine >> state/engine.toml
"""
)
@click.option(
    "--separate-engine",
    is_flag=True,
    help="The engine has a process of its own on this machine, and half of the memory.",
)
@click.option(
    "--settings",
    type=click.Choice(["gateway", "engine"]),
    help="Print nothing but what goes into that file.",
)
@json_option
@click.pass_context
def doctor(ctx: click.Context, separate_engine: bool, settings: str | None, as_json: bool) -> None:
    """Look at this machine, and say what fits it.

    Cores and memory are those that the cgroup and the affinity mask leave to this process, so ask
    where the gateway is to run: in its container, or by `systemd-run`.
    """
    if settings == "engine" and not separate_engine:
        raise click.UsageError("an engine.toml is that of --separate-engine")
    machine = Machine.look(state_folder(ctx))
    parts = {"gateway": fitting.gateway_part(machine, separate=separate_engine)}
    if separate_engine:
        parts["engine"] = fitting.engine_part(machine)
    if settings is not None:
        click.echo(f"\n{parts[settings]}", nl=False)
        return
    found = fitting.findings(machine, separate=separate_engine)
    facts = _facts(machine, separate_engine)
    if as_json:
        show_fields(facts | {"findings": found, "settings": parts}, as_json)
        return
    show_fields(facts, as_json)
    for sentence in found:
        click.echo(f"! {sentence}")
    for name, part in parts.items():
        click.echo(f"\n# For {name}.toml\n{part}", nl=False)


def _facts(machine: Machine, separate: bool) -> dict[str, Any]:
    millions = fitting.parameters_that_fit(machine, separate=separate) // _MILLION
    gpus = [f"{gpu.name}, {gpu.memory / _GIB:.0f} GiB" for gpu in machine.gpus]
    return {
        "tier": str(Tier.of(machine)),
        "fits": f"models of {millions} million parameters, all in production together",
        "cores": f"{machine.cores} of {machine.cores_of_machine}",
        "memory": f"{machine.memory / _GIB:.1f} GiB",
        "instructions": " ".join(machine.instructions) or "none of those that INT8 uses",
        "gpu": gpus or "none",
        "free_disk": f"{machine.free_disk / _GIB:.0f} GiB",
        "clock": machine.clock,
        "python": machine.python,
        "onnxruntime": f"{machine.onnxruntime}, built for {', '.join(machine.providers)}",
    }
