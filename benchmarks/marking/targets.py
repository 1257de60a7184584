"""What the mark has to reach, held against what was measured."""

from typing import Any

from benchmarks.report import Target

_LEAST_Z = (
    "INT8 per tensor",
    "INT8 per channel",
    "INT4, blocks of 32",
    "pruned 50%",
    "fine-tuned 10 epochs",
    "overwritten at 5x",
    "neurons reordered, aligned",
    "low-rank update",
    "mean with the base",
)
_NO_ERROR = _LEAST_Z[:3]
_PAYLOAD = ("pruned 90%", "20% of neurons dropped, aligned")
_WHY = {
    "fine-tuned 10 epochs": "a small network trained for ten epochs at its first rate is another",
    "cost": "each bit has to be read with six standard deviations, by few weights a bit",
}


def targets_of(
    table: list[dict[str, Any]], null: list[dict[str, Any]], speed: list[dict[str, Any]]
) -> list[Target]:
    targets = []
    for row in table:
        name = f"{row['model']}: {row['attack']}"
        if row["attack"] in _LEAST_Z:
            targets.append(_aim(f"{name}: z", row["z_least"], 12, row["attack"], least=True))
        if row["attack"] in _NO_ERROR:
            targets.append(_aim(f"{name}: bit errors", row["bit_errors_most"], 0, row["attack"]))
        if row["attack"] in _PAYLOAD:
            share = row["payloads_read"] / row["seeds"]
            targets.append(_aim(f"{name}: payloads read", share, 1, row["attack"], least=True))
        if row["attack"] == "none" and "limit" in row:
            cost = f"{row['model']}: {row['unit']} lost, mean"
            targets.append(_aim(cost, row["cost_mean"], row["limit"], "cost"))
        if "seconds" in row:
            targets.append(_aim(f"{name}: processor seconds to read", row["seconds"], 1, ""))
    keys = sum(each["keys"] for each in null)
    largest = max(each["largest_z"] for each in null)
    targets.append(_aim(f"the largest z of {keys:,} wrong keys", largest, 6, ""))
    for each in speed:
        targets.append(_aim("embedding 1 GB: processor seconds", each["seconds"], 30, ""))
        targets.append(_aim("embedding 1 GB: MB of memory of its own", each["megabytes"], 500, ""))
    return targets


def _aim(name: str, value: float, target: float, why: str, least: bool = False) -> Target:
    aim = Target(name, value, target, least)
    return aim if aim.met else aim.because(_WHY.get(why, ""))
