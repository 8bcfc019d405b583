"""The XML of an aggregate report of DMARC.

Fails: never.
Source: RFC 9990 section 3 and appendix A.
"""

import json
import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any
from xml.sax.saxutils import escape

NAMESPACE = "urn:ietf:params:xml:ns:dmarc-2.0"
MAX_TEXT = 512
"""Longest text of one element, in characters."""

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def report_xml(
    reporter: str, email: str, report_id: str, begin: int, end: int, policy: str, rows: Sequence[tuple[str, int]]
) -> Iterator[bytes]:
    """Yield a report in pieces.

    `reporter`: the name of this host; `begin`, `end`: seconds since the epoch; `policy`, `rows`: as from
    `dmarc_rows.report_row`, each row with its count.
    """
    published: dict[str, Any] = json.loads(policy)
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<feedback xmlns="{NAMESPACE}">\n'.encode()
    period = _group("date_range", _element("begin", str(begin)), _element("end", str(end)))
    metadata = (_element("org_name", reporter), _element("email", email), _element("report_id", report_id), period)
    tags = [_element(name, str(published[name])) for name in _PUBLISHED if name in published]
    for part in (_element("version", "1.0"), _group("report_metadata", *metadata), _group("policy_published", *tags)):
        yield part.encode() + b"\n"
    for row, count in rows:
        yield _record(json.loads(row), count).encode() + b"\n"
    yield b"</feedback>\n"


_PUBLISHED = ("domain", "discovery_method", "adkim", "aspf", "p", "sp", "np", "testing")


def _record(row: dict[str, Any], count: int) -> str:
    evaluated = [_element(name, row[name]) for name in ("disposition", "dkim", "spf")]
    if "reason" in row:
        kind, comment = row["reason"]
        evaluated.append(_group("reason", _element("type", kind), _element("comment", comment)))
    source = _element("source_ip", _address(row["ip"])), _element("count", str(count))
    signatures = [_elements("dkim", it, "domain", "selector", "result") for it in row["signatures"]]
    return _group(
        "record",
        _group("row", *source, _group("policy_evaluated", *evaluated)),
        _elements("identifiers", row, "envelope_from", "header_from"),
        _group("auth_results", *signatures, _elements("spf", row["spf_result"], "domain", "scope", "result")),
    )


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return "::"


def _group(name: str, *inner: str) -> str:
    return f"<{name}>{''.join(inner)}</{name}>"


def _elements(name: str, values: dict[str, Any], *names: str) -> str:
    return _group(name, *(_element(inner, values[inner]) for inner in names))


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(_NOT_IN_XML.sub('?', text[:MAX_TEXT]))}</{name}>"
