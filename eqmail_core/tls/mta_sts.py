"""MTA-STS: the record that announces a policy, the policy, and the exchangers that it names.

Fails: never; what is not a valid record or policy is None.
Source: RFC 8461 sections 3 and 4.1.
"""

ENFORCE, TESTING, NONE = b"enforce", b"testing", b"none"

MAX_POLICY = 65536
"""Most bytes of a policy (RFC 8461 section 3.3 recommends a limit of 64 kilobytes)."""

MAX_PATTERNS = 256
"""Most exchangers that a policy names."""

MAX_AGE_S = 31557600
"""Longest time that a policy may be kept, in seconds: about a year."""

_ID = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class StsPolicy:
    """A policy.  `mode`: as above; `patterns`: names of exchangers in lower case, perhaps *.DOMAIN."""

    __slots__ = ("max_age_s", "mode", "patterns")

    def __init__(self, mode: bytes, patterns: tuple[bytes, ...], max_age_s: int) -> None:
        self.mode = mode
        self.patterns = patterns
        self.max_age_s = max_age_s

    def names(self, host: bytes) -> bool:
        """Return whether the policy names this exchanger; * stands for one label."""
        name = host.lower().rstrip(b".")
        return name in self.patterns or b"*." + name.partition(b".")[2] in self.patterns

    def render(self) -> bytes:
        """Return the text of the policy's file."""
        lines = [b"version: STSv1", b"mode: " + self.mode, *(b"mx: " + it for it in self.patterns)]
        return b"\r\n".join([*lines, b"max_age: %d" % self.max_age_s, b""])


def parse_policy(text: bytes) -> StsPolicy | None:
    """Read a policy; the first of several equal fields counts, unknown ones are ignored."""
    fields: dict[bytes, bytes] = {}
    patterns: list[bytes] = []
    for line in text[:MAX_POLICY].replace(b"\r\n", b"\n").split(b"\n"):
        key, colon, value = line.partition(b":")
        key, value = key.strip(b" \t"), value.strip(b" \t")
        if not colon:
            continue
        if key == b"mx":
            patterns.append(value.lower().rstrip(b"."))
        else:
            fields.setdefault(key, value)
    mode, age = fields.get(b"mode"), fields.get(b"max_age", b"")
    if fields.get(b"version") != b"STSv1" or mode not in (ENFORCE, TESTING, NONE) or not is_age(age):
        return None
    if mode != NONE and not patterns:
        return None
    return StsPolicy(mode, tuple(patterns[:MAX_PATTERNS]), min(int(age), MAX_AGE_S))


def is_age(text: bytes) -> bool:
    """Return whether a text may be the max_age of a policy: one to ten digits."""
    return text.isdigit() and len(text) <= 10


def policy_id(records: "tuple[bytes, ...]") -> bytes | None:
    """Return the id in the TXT records at _mta-sts.DOMAIN; None without exactly one valid record."""
    found = [it for it in records if it.split(b";")[0].strip(b" \t") == b"v=STSv1"]
    if len(found) != 1:
        return None
    for field in found[0].split(b";")[1:]:
        key, _, value = field.strip(b" \t").partition(b"=")
        if key == b"id":
            return value if 0 < len(value) <= 32 and not value.translate(None, _ID) else None
    return None
