"""Mail authentication: DKIM, SPF, DMARC, ARC, Authentication-Results, SRS and BATV, without I/O."""
