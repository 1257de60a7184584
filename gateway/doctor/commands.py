"""`sealgate doctor`: what this machine has, what fits it, a configuration that matches, and whether
the databases of the installation are sound.
"""

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, TaskID

from gateway.cli.serve import config_option, read_config
from gateway.doctor import fitting
from gateway.doctor.database_checks import FAILED, CheckedDatabase, DatabaseChecks
from gateway.doctor.fitting import Tier
from inference.runtime.machine import HostMachine
from registry.sandbox import probe
from sealgate.cli.context import state_folder
from sealgate.cli.output import json_option, show_fields, show_rows
from sealgate.reasons import Refusal
from sealgate.settings import ConfigError

_GIB = 1 << 30
_MILLION = 10**6


@click.command(
    epilog="""
\b
Examples:
  sealgate doctor
  sealgate doctor --quick
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
@click.option("--quick", is_flag=True, help="Do not read the logs as a whole.")
@config_option
@json_option
@click.pass_context
def doctor(
    ctx: click.Context,
    separate_engine: bool,
    settings: str | None,
    quick: bool,
    config: Path | None,
    as_json: bool,
) -> None:
    """Look at this machine and say what fits it, and look at the installation's databases.

    Cores and memory are those that the cgroup and the affinity mask leave to this process, so ask
    where the gateway is to run: in its container, or by `systemd-run`. The databases are read and
    not changed; the gateway may run meanwhile. The exit status is 1 where one is not sound.
    """
    if settings == "engine" and not separate_engine:
        raise click.UsageError("an engine.toml is that of --separate-engine")
    machine = HostMachine.look(state_folder(ctx))
    parts = {"gateway": fitting.gateway_part(machine, separate=separate_engine)}
    if separate_engine:
        parts["engine"] = fitting.engine_part(machine)
    if settings is not None:
        click.echo(f"\n{parts[settings]}", nl=False)
        return
    found = fitting.findings(machine, separate=separate_engine)
    facts = _facts(machine, separate_engine)
    databases = _databases(ctx, config, quick)
    rows = [
        {"database": f.database, "check": f.check, "state": f.state, "found": f.text}
        for f in databases
    ]
    if as_json:
        show_fields(facts | {"findings": found, "settings": parts, "databases": rows}, as_json)
    else:
        show_fields(facts, as_json)
        for sentence in found:
            click.echo(f"! {sentence}")
        for name, part in parts.items():
            click.echo(f"\n# For {name}.toml\n{part}", nl=False)
        if rows:
            click.echo("\n# The databases")
            show_rows(rows, ("database", "check", "state", "found"), as_json)
    if any(each.state == FAILED for each in databases):
        ctx.exit(1)


def _databases(ctx: click.Context, config: Path | None, quick: bool) -> list[CheckedDatabase]:
    """What was found of the databases; nothing where there is no installation yet."""
    if config is None and not (state_folder(ctx) / "gateway.toml").exists():
        return []
    try:
        settings = read_config(ctx, config)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    console = Console(stderr=True)
    tasks: dict[str, TaskID] = {}
    with Progress(transient=True, disable=not console.is_terminal, console=console) as bar:

        def move(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(f"{name}: the whole log")
            bar.update(tasks[name], completed=done, total=total)

        return DatabaseChecks(settings, quick, move).run()


def _facts(machine: HostMachine, separate: bool) -> dict[str, Any]:
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
        "workers": _workers(),
    }


def _workers() -> str:
    """How workers are confined that open uploaded files and models that nobody has approved."""
    try:
        missing = probe.missing()
    except Refusal as refusal:
        return f"cannot be started: {refusal.reason.name}"
    return f"confined, but: {'; '.join(missing)}" if missing else "confined"
