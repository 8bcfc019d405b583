"""The SPF test suite of RFC 7208, as the Debian package python3-spf has it, and its zones."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from eqmail_core.dns.query import MX, NO_ANSWER, NO_SUCH_NAME, NOTHING, PTR, TXT, DnsAnswer, DnsQuestion

SUITE = Path("/usr/share/doc/python3-spf/rfc7208-tests.yml.gz")
TIMEOUT = "TIMEOUT"


class SpfCase(NamedTuple):
    """One case: who sends, what may come out, and the zone that is asked."""

    name: str
    host: bytes
    sender: bytes
    helo: bytes
    results: list[str]
    explanation: bytes | None
    zone: "SuiteZone"


class SuiteZone:
    """Records as the suite writes them; TIMEOUT is silence, and type SPF stands for TXT where there is none."""

    def __init__(self, records: dict[str, list[Any]]) -> None:
        self._records = {name.lower(): found for name, found in records.items()}

    def ask(self, question: DnsQuestion) -> DnsAnswer:
        return self._follow(question[0], question[1].decode("latin-1").lower().rstrip("."), 0)

    def _follow(self, kind: str, name: str, depth: int) -> DnsAnswer:
        if any(not label or len(label) > 63 for label in name.split(".")):
            return NOTHING
        if name not in self._records:
            return NO_SUCH_NAME
        records = self._records[name]
        has_txt = any(isinstance(record, dict) and TXT in record for record in records)
        values = []
        for record in records:
            if record == TIMEOUT:
                continue
            ((type_, value),) = record.items()
            if type_ == "SPF" and not has_txt:
                type_ = TXT
            if type_ == "CNAME" and depth < 8:
                return self._follow(kind, value.lower(), depth + 1)
            if type_ == kind and value == TIMEOUT:
                return NO_ANSWER
            if type_ == kind and value != "NONE":
                values.append(value)
        if not values:
            return NO_ANSWER if TIMEOUT in records else NOTHING
        return _answer(kind, values)


def _answer(kind: str, values: list[Any]) -> DnsAnswer:
    if kind == TXT:
        return DnsAnswer(
            texts=tuple("".join([value] if isinstance(value, str) else value).encode("latin-1") for value in values)
        )
    if kind == MX:
        return DnsAnswer(names=tuple((preference, name.encode().rstrip(b".")) for preference, name in values))
    if kind == PTR:
        return DnsAnswer(names=tuple((0, name.encode().rstrip(b".")) for name in values))
    return DnsAnswer(addresses=tuple(values))


def cases() -> Iterator[SpfCase]:
    """Every case of the suite; none where the package is not installed."""
    if not SUITE.exists():
        return
    for part in yaml.safe_load_all(gzip.decompress(SUITE.read_bytes())):
        zone = SuiteZone(part["zonedata"])
        for name, case in part["tests"].items():
            said = case.get("explanation")
            yield SpfCase(
                name,
                case["host"].encode(),
                case["mailfrom"].encode("latin-1"),
                case["helo"].encode("latin-1"),
                [case["result"]] if isinstance(case["result"], str) else case["result"],
                said.encode() if said not in (None, "DEFAULT") else None,
                zone,
            )
