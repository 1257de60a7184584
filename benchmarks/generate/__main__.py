"""`make bench NAME=generate [PART=...]`: a language model's tokens a second.

    tiny   random weights: plain, engine and gateway; twelve minutes
    plain  Qwen2.5-0.5B by transformers' `generate`, in float32 and INT8; two minutes
    llama  Qwen2.5-0.5B in INT8: engine and gateway beside llama.cpp; fifteen minutes

`plain` is transformers' `generate`, one prompt after another. `engine` is the generator's process
asked through its own socket, as the gateway asks it: transformers' continuous batching, the
screen's run over each prompt, no gateway. `gateway` is the same process behind the gateway, with
TLS, rights, records and receipts. The generator and llama.cpp have one core and one thread; gateway
and callers share the other. Ways take turns in short rounds, and their ratio is taken within a
round, since machines drift; CPU times, which other work changes least, are those of either process
for each token. Prints a table; writes results/generate.json, with what `benchmarks.parts` keeps of
parts that are not measured now.
"""

import sys
from functools import partial

import click

from benchmarks import parts
from benchmarks.generate import qwen, tiny


@click.command()
@click.argument("chosen", nargs=-1, metavar="[PART]...")
@click.option("--quick", is_flag=True, help="A small model, one round.")
def main(chosen: tuple[str, ...], quick: bool) -> None:
    """Measure the parts that are named, or all."""
    known: dict[str, parts.Part] = {
        "tiny": (partial(tiny.measure, quick), tiny.targets),
        "plain": (qwen.plain, lambda rows: []),
        "llama": (partial(qwen.measure, quick), qwen.targets),
    }
    sys.exit(parts.run("generate", known, chosen))


if __name__ == "__main__":
    main()
