"""Code of small user programs: receipts, syslog, mail readers."""
