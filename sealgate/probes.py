"""Fixed texts that every text model is tested with; they contain no personal data.

Golden answers hold the tokens of each, so that a library which cuts texts another way than the
publisher's did is found out when the version is loaded; and what the model makes of them, so that
`sealgate health` has texts to send.
"""

PROBES = (
    "Sealgate answers.",
    "Grüße, naïve café: 1,234.56 € + 50%!",
    "日本語 と عربى и 👍🏽",
    "e\u0301 \ufb01 \u200b tab\tline\nend",
    "www.example.org/a?b=c&d=e " + "long" * 40,
    "Words and more words, " * 40,
)
