"""Aggregate reports to other domains: counted, composed, sent; and those of others, read."""

FOLDER = "reports"
"""The folder in the home of an installation, which the SMTP server's account owns."""

DMARC_DATABASE = f"{FOLDER}/dmarc.sqlite"
"""The counts for DMARC reports, relative to the home."""
