"""Measure what fits into what others run: `python -m benchmarks.outward [PART ...] [--quick]`.

    events     10,000 events to a webhook across 100 kills of the events process; minutes
    outcomes   10,240 reports of true outcomes; a minute
    standards  COSE and SCITT vectors of others, as they are and altered; half a minute
    siem       every kind of security event, judged by OCSF's schema; half a minute
    dossier    a regulator's file of each template, with its citations looked up; half a minute

Each part leaves its figures in build/outward/PART.json; without a PART all are measured. See
`benchmarks.parts`.
"""

import sys
from functools import partial

import click

from benchmarks import parts
from benchmarks.outward import events, outcomes, standards


@click.command()
@click.argument("chosen", nargs=-1, metavar="[PART]...")
@click.option("--quick", is_flag=True, help="A tenth of it.")
def main(chosen: tuple[str, ...], quick: bool) -> None:
    """Measure the parts that are named, or all."""
    known: dict[str, parts.Part] = {
        "events": (
            partial(events.measure, events.QUICK if quick else events.WHOLE),
            events.targets,
        ),
        "outcomes": (
            partial(outcomes.measure, outcomes.QUICK if quick else outcomes.WHOLE),
            outcomes.targets,
        ),
        "standards": (standards.vectors, standards.vector_targets),
        "siem": (standards.siem, standards.siem_targets),
        "dossier": (standards.dossier, standards.dossier_targets),
    }
    sys.exit(parts.run("outward", known, chosen))


if __name__ == "__main__":
    main()
