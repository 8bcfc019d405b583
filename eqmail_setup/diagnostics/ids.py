"""The names of all findings. A name stands for one thing and never changes its meaning."""

FAILED = "failed"
"""What a finding of every group is called that could not be examined to its end."""

SETTINGS_GROUP = "settings"
"""The group whose findings bear the names of control files, or those below."""

IDS: dict[str, tuple[str, ...]] = {
    "permissions": ("broken-run", "differs", "unreachable"),
    "queue": ("damaged-journal", "inode", "journal", "owner", "split", "state", "stranger"),
    "database": ("clock", "dead-rows", "idle-transaction", "no-standby", "old-snapshot", "unusable"),
    SETTINGS_GROUP: ("unreadable",),
    "users": ("assign", "deferred", "no-text", "stale"),
    "aliases": ("deferred", "home", "misread", "missing", "trouble"),
    "domains": ("undeliverable",),
    "relaying": ("backscatter", "everybody", "open", "rules", "stale-rules", "unreadable"),
    "certificates": ("expired", "expires", "no-key", "open-key", "pair", "unreadable"),
    "dkim": ("missing", "none-active", "owner", "readable", "states"),
    "senders": ("login",),
    "limits": ("over", "user"),
    "filters": ("check", "milter"),
    "scripts": ("checker", "memory"),
    "programs": ("home", "instruction", "link", "script", "sendmail"),
    "listening": (
        "clear-passwords",
        "local",
        "lookup",
        "old-code",
        "paused",
        "queue",
        "remote",
        "restarted",
        "send",
        "service",
        "smtp",
        "stopped",
        "submission",
    ),
    "selftest": ("auth", "dialogue", "postmaster", "relays", "tls", "trusted"),
    "dns": (
        "address",
        "dkim",
        "dmarc",
        "mx",
        "mx-address",
        "mta-sts",
        "reverse",
        "spf",
        "tlsa",
        "tlsrpt",
        "unanswered",
    ),
}
"""Names by group."""


def is_known(name: str) -> bool:
    """Whether this is a group, or GROUP.NAME of a finding."""
    group, separator, what = name.partition(".")
    if group not in IDS:
        return False
    if not separator or what == FAILED or what in IDS[group]:
        return True
    return group == SETTINGS_GROUP and bool(what)
