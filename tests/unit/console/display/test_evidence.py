import pytest

from console.display.comparison import brief, compared_charts, differences
from console.display.evidence import show
from sealgate.trust.statements import Evidence

DIGEST = "sha256:" + "0" * 64
REPORT = {
    "rows": 400,
    "clean": {"at_least_suspect": 0.02, "disagrees": 0, "flagged": 0.01},
    "attacks": {
        "pgd": {
            "succeeded": 0.9,
            "flagged": 0.7,
            "at_least_suspect": 0.95,
            "caught_at_1_percent": 0.8,
            "auroc": 0.99,
        }
    },
    "shifts": {"noise": {"answers_changed": 0.1, "flagged": 0.0, "at_least_suspect": 0.3}},
}
GOLDEN = {
    "rows": 32,
    "same_class_as_fp32": 1,
    "largest_difference_to_fp32": 0.1,
    "same_alone_and_in_a_batch": True,
    "classes_answered": 10,
}


def item(kind, body):
    return Evidence(kind, DIGEST, "publisher", "2026-11-29T10:00:00Z", body)


def test_a_screening_report_becomes_tables_and_plots():
    shown = show(item("screening-report", REPORT))
    attacks, benign = shown.tables
    assert attacks.rows == (("pgd", "90.0 %", "70.0 %", "95.0 %", "80.0 %", "0.99"),)
    assert benign.rows[1] == ("noise", "10.0 %", "0.0 %", "30.0 %")
    assert len(shown.charts) == 2


def test_outcomes_become_a_table_and_a_plot_of_groups():
    series = {
        "alias": "production",
        "pointer_sequence": 3,
        "figures": {"outcomes": 40, "accuracy": 0.75, "ece": 0.1},
        "groups": [{"attribute": "age", "group": "<old>", "error": 0.5}],
        "first_entry": 7,
        "last_entry": 90,
    }
    shown = show(item("outcome-report", {"series": [series]}))
    [table] = shown.tables
    assert table.rows == (("production", "3", "40", "75.0 %", "10.0 %", "7 to 90"),)
    assert "age: &lt;old&gt;: 50" in shown.charts[0]


def test_golden_answers_are_told_in_words():
    (table,) = show(item("golden-run", GOLDEN)).tables
    assert ("Same alone and in a batch", "yes") in table.rows


@pytest.mark.parametrize(
    "kind",
    [
        *("screening-report", "golden-run", "watermark-check", "mlbom", "build-provenance"),
        *("format-scan", "outcome-report", "something-new"),
    ],
)
def test_evidence_of_another_form_is_shown_as_its_facts(kind):
    (table,) = show(item(kind, {"one_fact": {"inner": 3}, "many": list(range(20))})).tables
    assert table.rows == (("one fact, inner", "3"), ("many", "20 items"))


def test_long_evidence_is_cut_and_says_so():
    (table,) = show(item("something-new", {f"fact {n}": n for n in range(100)})).tables
    assert (len(table.rows), table.more) == (60, 40)


def test_differences_name_what_changed_and_leave_out_digests_and_times():
    ours = item("x", {"a": 1, "same": 2, "digest": DIGEST, "at": "2026-11-29T10:00:00Z"})
    theirs = item("x", {"a": 5, "same": 2, "digest": "sha256:1", "at": "2025-11-29T10:00:00Z"})
    assert differences(ours, theirs).rows == (("a", "5", "1"),)
    assert differences(ours, ours) is None


def test_screening_reports_are_compared_attack_by_attack():
    better = {**REPORT, "attacks": {"pgd": {**REPORT["attacks"]["pgd"], "flagged": 0.9}}}
    table = differences(item("screening-report", better), item("screening-report", REPORT))
    assert table.rows == (("pgd", "90.0 %", "—", "70.0 % → 90.0 %", "95.0 %"),)


def test_an_attack_that_never_succeeds_is_in_the_table_and_in_no_plot():
    report = {**REPORT, "attacks": {**REPORT["attacks"], "border": {"succeeded": 0}}}
    shown = show(item("screening-report", report))
    assert ("border", "0.0 %", "—", "—", "—", "—") in shown.tables[0].rows
    assert "border" not in shown.charts[0]
    (plot,) = compared_charts(item("screening-report", report), item("screening-report", report))
    assert "pgd: 70.0 % flagged" in plot
    assert "in production: 70.0 % flagged" in plot
    assert "border" not in plot


def test_the_packages_of_a_build_are_told_by_name():
    material = [{"name": "data", "digest": {"sha256": "1" * 64}}]
    package = [{"name": "numpy", "uri": "pkg:pypi/numpy@2.4.6"}]
    build = {"buildType": "publish", "resolvedDependencies": [*material, *package]}
    body = {"predicate": {"buildDefinition": build, "runDetails": {"builder": {"id": "us"}}}}
    _, made = show(item("build-provenance", body)).tables
    assert made.rows == (("data", "1" * 64), ("numpy", "pkg:pypi/numpy@2.4.6"))


WATERMARK = {"threshold": 12, "int8": {"z": 16.11}}
ITEMS = [item("screening-report", REPORT), item("golden-run", GOLDEN)]


def test_evidence_in_brief_is_beside_that_of_production():
    better = {**REPORT, "certified": {"0.01": 0.9, "0.05": 0.5, "0.1": 0}}
    table = brief([item("screening-report", better), item("watermark-check", WATERMARK)], ITEMS)
    assert table.columns == ("Fact", "In production", "This version")
    assert table.rows == (
        ("Attacks that screening finds, on average", *["95.0 % of 1 kinds"] * 2),
        ("Attack that it finds least often", *["95.0 %, pgd"] * 2),
        ("Clean rows that it doubts", *["2.0 %, of which 1.0 % flagged"] * 2),
        ("Rows that no change turns, by proof", "—", "50.0 % within 0.05"),
        ("INT8 answers with float32's class", "100.0 % of 32 rows", "—"),
        ("Watermark read from the INT8 file", "—", "z = 16.1, threshold 12"),
    )
    assert brief(ITEMS, None).columns == ("Fact", "This version")


def test_evidence_of_other_kinds_has_nothing_in_brief():
    assert brief([item("screening-report", {"rows": 3}), item("red-team", {})], None) is None


def test_rows_that_are_proved_have_a_plot():
    shown = show(item("screening-report", {**REPORT, "certified": {"0.01": 0.9}}))
    assert "Share of rows that no change turns, by proof. by 0.01: 90.0 % proved" in shown.charts[2]
