"""Attacks that get past the screening of texts: e-mails and tweets, read by MiniLM."""
