"""The formats of the queue: envelopes, message files, journal records, log lines and exit codes."""
