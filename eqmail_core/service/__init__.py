"""What a service shares with its supervisor: readiness, status record, probes."""
