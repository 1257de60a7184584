"""Measure that no known hole is open: `python -m benchmarks.holes [PART ...]`.

    tests      every flaw's named tests (benchmarks/holes/flaws.toml); minutes
    fuzz       every parser, half a minute and 200,000 executions each; half an hour
    promotion  the model-checked promotion, 50,000 runs; an hour
    flood      hostile uploads beside honest answers; minutes
    idle       1,000 idle connections beside honest answers; minutes

Each part leaves its figures in build/holes/PART.json; without a PART all are measured. See
`benchmarks.parts`.
"""

import sys

from benchmarks import parts
from benchmarks.holes import idle_connections, named_tests, publisher_flood
from tests.support.oracles.promotion import campaign

_PARTS: dict[str, parts.Part] = {
    "tests": (named_tests.measure, named_tests.targets),
    "fuzz": (named_tests.fuzzed, named_tests.fuzz_targets),
    "promotion": (campaign.rows, campaign.targets),
    "flood": (publisher_flood.measure, publisher_flood.targets),
    "idle": (idle_connections.measure, idle_connections.targets),
}


if __name__ == "__main__":
    sys.exit(parts.run("holes", _PARTS, sys.argv[1:]))
