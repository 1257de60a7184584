"""The targets of marks, and the reason for each miss."""

from benchmarks.report import Row, Target

# A model that has lost more is none that a thief would keep.
LIVES = {"points of accuracy": 5.0, "% perplexity": 25.0, "1 - cosine": 0.1}
# The residual stream rotated, as it is, with the neurons in another order and scale, and with heads
# mixed, dead neurons and clones beside.
TURNED = (
    "residual stream rotated",
    "residual stream rotated, neurons reordered",
    "every exact change at once",
)
# The radius that the certified network is trained for.
_CERTIFIED_WITHIN = 0.1
# Changes that keep the function and cost nothing.
EXACT = (
    "neurons reordered and rescaled",
    "one dead neuron a layer",
    "half as many dead neurons",
    "half of the neurons cloned",
    "features mixed within heads",
    *TURNED,
    "stored as two factors",
    "stored as a sum",
    "stored as constants to compute",
)


def targets_of(
    rows: list[Row],
    costs: list[Row],
    null: list[Row],
    networks: list[Row],
    certificates: list[Row],
) -> list[Target]:
    targets = []
    for row in rows:
        name = f"{row['model']}: {row['attack']}: z"
        if row["attack"] in EXACT:
            targets.append(Target(name, row["z"], 12, least=True))
        elif row["model_lives"]:
            why = "the model outlives its mark: an honest limit"
            targets.append(_aim(Target(name, row["z"], 12, least=True), why))
        if "named" in row:
            called = f"{row['model']}: {row['attack']}"
            if row["model_lives"]:
                why = "a copy's mark withstands five who average, of few weights fewer"
                aim = Target(f"{called}: recipients named", row["named"], 1, least=True)
                targets.append(_aim(aim, why))
            targets.append(Target(f"{called}: innocents named", row["innocent_named"], 0))
    for row in costs:
        # Below the limit by the drawing: missed only where no draw costs so little.
        lost = f"{row['unit']} lost with {row['keys']} keys, drawn again on these rows if more"
        aim = Target(f"{row['model']}: {lost}", row["published_worst"], row["limit"])
        targets.append(_aim(aim, "no mark of one key costs so little; publishing allows 2 points"))
    for row in null:
        name = f"{row['weights']}: the largest z of {row['keys']:,} wrong keys"
        targets.append(Target(name, row["largest_z"], 6))
    for row in networks:
        name = f"{row['count']} networks, {row['networks']}: claimed"
        targets.append(Target(name, row["claimed"], 0))
    for row in certificates:
        if row["within"] == _CERTIFIED_WITHIN:
            name = (
                f"{row['model']}: of what was proved within {row['within']:g}, proved after a mark"
            )
            left = row["after_worst"] / row["before"]
            aim = Target(f"{name}, worst of {row['keys']} keys", left, 0.9, least=True)
            targets.append(_aim(aim, "bits of 6 standard deviations; fainter ones outlive less"))
    return targets


def _aim(aim: Target, why: str) -> Target:
    return aim if aim.met else aim.because(why)
