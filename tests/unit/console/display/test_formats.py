import pytest

from console.display.charts import Bar, Line, bars, lines
from console.display.formats import (
    browser,
    count,
    digest,
    percent,
    plain,
    size,
    time,
    told,
    visible,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("\u200bhidden", "\\u200bhidden"),
        ("bell\x07", "bell\\x07"),
        ("Grüße", "Grüße"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text, shown):
    assert visible(text) == shown


def test_a_digest_is_short_with_the_whole_beside_it():
    whole = "sha256:" + "ab" * 32
    assert digest(whole) == f'<code class="digest" title="{whole}">sha256:abababababab…</code>'


def test_times_and_digests_escape_what_others_wrote():
    assert "<script>" not in time("<script>alert(1)</script>")
    assert "<script>" not in digest("<script>alert(1)</script>" * 4)


def test_markup_hides_nothing_that_others_wrote():
    hidden = "a\u202egnp"
    chart = lines(hidden, [0, 1], [Line(hidden, (1, 2)), Line("b", (1, 2))])
    bar = bars(hidden, [Bar(hidden, ((hidden, 4000.0), ("b", 1.0)))])
    for shown in (time(hidden), digest(hidden), digest(hidden * 4), chart, bar):
        assert "\u202e" not in shown
        assert "a\\u202e" in shown
    assert "4\u202f000" in bar


def test_a_time_is_utc_and_can_be_read_by_scripts():
    assert time("2026-11-29T06:20:29.527409Z") == (
        '<time datetime="2026-11-29T06:20:29.527409Z">2026-11-29 06:20:29&nbsp;UTC</time>'
    )
    assert time("") == "—"


def test_numbers_are_for_people():
    assert [size(n) for n in (0, 999, 40_682, 3_000_000)] == [
        *("0 bytes", "999 bytes", "40.7 kB", "3.0 MB"),
    ]
    assert visible(count(1234567)) == "1\u202f234\u202f567"
    assert percent(0.455) == "45.5 %"
    assert [plain(value) for value in (True, 0.12345678, 3, "x")] == ["yes", "0.1235", "3", "x"]


def test_a_finding_has_short_digests_and_times_as_elsewhere_and_escapes_the_rest():
    shown = told(f"<b> sha256:{'ab' * 32} of 2026-12-01T23:47:36.5Z, \u202e")
    assert shown.startswith("&lt;b&gt; <code ")
    assert ">sha256:abababababab…</code> of <time " in shown
    assert "2026-12-01 23:47:36&nbsp;UTC</time>, \\u202e" in shown


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0 Safari/537.36", "Chrome on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/156.0 Safari/537.36 Edg/156.0", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 15.1) Version/19 Safari/6", "Safari on macOS"),
        ("Mozilla/5.0 (Android 16; Mobile; rv:140.0) Firefox/140.0", "Firefox on Android"),
        ("curl/8.1", "curl/8.1"),
        ("", "unknown"),
    ],
)
def test_a_browser_is_told_by_name_and_system(agent, shown):
    assert browser(agent) == shown


def test_a_chart_says_in_words_what_it_shows():
    chart = bars("Requests", [Bar("Version 1", (("answered", 3), ("failed", 1)))])
    assert 'aria-label="Requests. Version 1: 3 answered, 1 failed"' in chart
    assert chart.count('class="part-0"') == 2  # in the legend, and the bar


def test_a_chart_escapes_its_labels_and_has_no_inline_style():
    chart = bars("<b>", [Bar('"><script>', (("<i>", 1.0),))])
    assert "<script>" not in chart
    assert "<b>" not in chart
    assert "<i>" not in chart
    assert "style=" not in chart


def test_an_empty_chart_draws_nothing():
    assert "<rect" not in bars("Requests", [])
