"""Remote delivery: qmail-remote, qmail-rspawn, and the resident service."""
