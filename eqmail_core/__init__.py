"""The mail transfer agent: it accepts, queues, delivers and bounces mail, byte-compatible with (e)qmail."""

VERSION = "2.0.0a1"
