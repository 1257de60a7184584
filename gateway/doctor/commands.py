"""`sealgate doctor`: checks this machine and an installation's databases, and proposes settings.

The proposed sections follow from memory alone, because the other limits cannot be measured by
looking. A quarter of it is for what runs need beside weights, a quarter for what callers may have
the process hold at once, and half for versions and the process itself. Cores need no setting: each
process finds its own.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, TaskID

from gateway.cli.serve import config_option, read_config
from gateway.config.sections import GatewayLimits
from gateway.doctor.database_checks import FAILED, CheckedDatabase, DatabaseChecks
from gateway.transport.native import is_available
from inference.runtime.machine import ADRIFT, HostMachine
from inference.runtime.settings import CPU, CUDA
from inference.server.config import EngineLimits
from registry.sandbox import process
from sealgate.cli.context import state_folder
from sealgate.cli.output import json_option, show_fields, show_rows
from sealgate.reasons import SealgateError

# NVIDIA's names of cards for desks; those for servers have others (A100, H100, L4, Tesla T4).
_FOR_DESKS = re.compile(r"\b(GeForce|GTX|RTX|TITAN|Quadro)\b", re.IGNORECASE)
_FOR_SERVERS = re.compile(r"\bServer\b", re.IGNORECASE)
_MIB = 1 << 20
_GIB = 1 << 30
_LEAST_ARENA_MB, _MOST_ARENA_MB = 64, 1 << 20
_LEAST_CALLS = 8
# A process without a version, and what a version takes: weights in float32 for screening and in
# INT8 for answers, each with what onnxruntime makes of it. Measured: docs/how-to/deploy.md.
_PROCESS_BYTES = 256 * _MIB
_BYTES_PER_PARAMETER = 16
# An alias keeps the version before, to roll back to.
_VERSIONS = 2
# A file that is loaded is 4 GiB at most, and float32 takes four bytes a parameter.
_MOST_PARAMETERS = 1 << 30
_LITTLE_DISK = 10 * _GIB


class Tier(StrEnum):
    CPU_SERVER = "CPU server"
    CONSUMER_GPU = "consumer GPU"
    DATA_CENTRE_GPU = "data-centre GPU"

    @classmethod
    def of(cls, machine: HostMachine) -> "Tier":
        """A GPU counts only if onnxruntime can run on it."""
        if not machine.gpus or machine.gpu_problem:
            return cls.CPU_SERVER
        name = machine.gpus[0].name
        if _FOR_DESKS.search(name) and not _FOR_SERVERS.search(name):
            return cls.CONSUMER_GPU
        return cls.DATA_CENTRE_GPU


def parameters_that_fit(machine: HostMachine, *, separate: bool = False) -> int:
    """How many parameters all models in production may have together, each with the version before
    it loaded too; 0 where memory is not known or too little. `separate` is as below.
    """
    room = _share(machine, separate) // 2 - _PROCESS_BYTES
    if Tier.of(machine) is not Tier.CPU_SERVER and machine.gpus[0].memory:
        room = min(room, machine.gpus[0].memory // 2)
    return max(0, min(room // (_VERSIONS * _BYTES_PER_PARAMETER), _MOST_PARAMETERS))


def findings(machine: HostMachine, *, separate: bool = False) -> list[str]:
    """Problems to fix before this machine serves, a sentence each."""
    found = []
    if machine.gpu_problem:
        found.append(f"The GPU cannot be used: {machine.gpu_problem}")
    if not {"avx512_vnni", "avx_vnni", "asimddp", "i8mm"} & set(machine.instructions):
        found.append("The processor has no instructions for INT8 products: answers take longer.")
    if machine.clock == ADRIFT:
        found.append(
            "Nothing keeps the clock, as far as the kernel knows; tokens are refused by clocks "
            "more than 10 seconds apart, and records bear its time: run chrony or timesyncd."
        )
    if machine.free_disk < _LITTLE_DISK:
        found.append("Less than 10 GiB of disk is free: logs grow, and nothing unrecorded answers.")
    if not machine.memory:
        found.append("How much memory there is could not be read: limits stay as they are.")
    elif not parameters_that_fit(machine, separate=separate):
        found.append(
            "There is not memory enough for a gateway with a model: give each process 1 GiB."
        )
    return found


def gateway_part(machine: HostMachine, *, separate: bool) -> str:
    """The sections to append to `gateway.toml`. `separate`: the engine has a process of its own, as
    by `sealgate init --separate-engine`, which wrote `[engine]`; it then gets half of the memory.
    """
    memory, plain = _share(machine, separate), GatewayLimits()
    calls = _calls(memory, plain.message_bytes, plain.concurrent_calls)
    limits = {
        "concurrent_calls": calls,
        "threads": min(plain.threads, calls),
        "waiting_calls": min(plain.waiting_calls, calls),
        "watchers": min(plain.watchers, max(1, calls // 4)),
    }
    return ("" if separate else _runtime(machine, memory) + "\n") + _section("limits", limits)


def engine_part(machine: HostMachine) -> str:
    """The sections to append to the `engine.toml` of an engine that has half of the memory."""
    memory, plain = _share(machine, True), EngineLimits()
    calls = _calls(memory, plain.message_bytes, plain.concurrent_calls)
    limits = {"concurrent_calls": calls, "threads": min(plain.threads, calls)}
    return _runtime(machine, memory) + "\n" + _section("limits", limits)


def _share(machine: HostMachine, separate: bool) -> int:
    """The bytes of one process, of the two that there are where `separate`."""
    return machine.memory // 2 if separate else machine.memory


def _calls(memory: int, message: int, most: int) -> int:
    """As many calls at once as a quarter of `memory` has room for, each with its largest message
    of `message` bytes; `most` where memory is not known.
    """
    return max(_LEAST_CALLS, min(most, memory // 4 // message)) if memory else most


def _runtime(machine: HostMachine, memory: int) -> str:
    if Tier.of(machine) is Tier.CPU_SERVER:
        return _section("runtime", {"provider": CPU, **_arena(memory // 4)})
    # Each of two graphs of two versions has an arena of its own there.
    arena = _arena(machine.gpus[0].memory // 2 // (2 * _VERSIONS))
    return _section("runtime", {"provider": CUDA, **arena}) + (
        "# GPUs round in their own way: state how far golden answers may be off, such as\n"
        "# tolerance = 0.01\n"
    )


def _arena(room: int) -> dict[str, int]:
    size = min(_MOST_ARENA_MB, max(_LEAST_ARENA_MB, room // _MIB))
    return {"arena_mb": size} if room else {}


def _section(name: str, values: Mapping[str, str | int]) -> str:
    lines = (
        f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}"
        for key, value in values.items()
    )
    return "\n".join([f"[{name}]", *lines, ""])


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
    help="Print only the settings for that file.",
)
@click.option("--quick", is_flag=True, help="Skip the checks that read a whole log.")
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
    """Check this machine and the installation's databases, and propose settings.

    Cores and memory are those that the cgroup and the affinity mask allow this process, so run it
    where the gateway will run: in its container, or by `systemd-run`. The databases are read and
    not changed; the gateway may run meanwhile. The exit status is 1 if a database is not sound.
    """
    if settings == "engine" and not separate_engine:
        raise click.UsageError("an engine.toml is that of --separate-engine")
    machine = HostMachine.look(state_folder(ctx))
    parts = {"gateway": gateway_part(machine, separate=separate_engine)}
    if separate_engine:
        parts["engine"] = engine_part(machine)
    if settings is not None:
        click.echo(f"\n{parts[settings]}", nl=False)
        return
    found = findings(machine, separate=separate_engine)
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
    """The results of the databases' checks; none where there is no installation yet."""
    if config is None and not (state_folder(ctx) / "gateway.toml").exists():
        return []
    settings = read_config(ctx, config)
    console = Console(stderr=True)
    tasks: dict[str, TaskID] = {}
    with Progress(transient=True, disable=not console.is_terminal, console=console) as bar:

        def move(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(f"{name}: the whole log")
            bar.update(tasks[name], completed=done, total=total)

        return DatabaseChecks(settings, quick, move).run()


def _facts(machine: HostMachine, separate: bool) -> dict[str, Any]:
    millions = parameters_that_fit(machine, separate=separate) // _MILLION
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
        "transport": _transport(),
        "workers": _workers(),
    }


def _transport() -> str:
    """The gRPC transport where `[listen] transport` is `auto`."""
    if is_available():
        return f"native (sealgate-front {version('sealgate-front')})"
    return "grpcio: sealgate-front is not installed"


def _workers() -> str:
    """How workers are confined that open uploaded files and models that nobody has approved."""
    try:
        missing = process.missing()
    except SealgateError as refusal:
        return f"cannot be started: {refusal.reason.name}"
    return f"confined, but: {'; '.join(missing)}" if missing else "confined"
