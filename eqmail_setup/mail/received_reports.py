"""Aggregate reports of DMARC that others have sent: found in messages and archives, and read, within bounds.

XML with a document type or entities is refused; archives are unpacked only as far as a report may be long.

Fails: UnreadableReport.
Source: RFC 9990; RFC 7489 appendix C (reports of the former kind).
"""

import email
import email.policy
import io
import time
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException, ElementTree

MAX_FILE, MAX_XML, MAX_ROWS = 32 << 20, 64 << 20, 100_000
"""Longest file and longest unpacked report in bytes, and most rows of a report."""

MAX_PARTS = 100
"""Most parts of a message that are looked at."""

MAX_DEPTH, MAX_ELEMENTS = 32, 10_000
"""Deepest nesting, and most elements of one row."""

MAX_TEXT = 256
"""Longest text of an element that is kept, in characters."""


class UnreadableReport(Exception):
    """What is no report, or breaks a bound; the text says which."""


class ReportedRow(NamedTuple):
    """Messages from one address with one result; `disposition`: what the receiver did."""

    ip: str
    messages: int
    disposition: str
    dkim: str
    spf: str
    header_from: str


class ReceivedReport(NamedTuple):
    """A report: who sent it, about which domain and days (UTC), and its rows."""

    reporter: str
    domain: str
    begin: str
    end: str
    policy: str
    rows: tuple[ReportedRow, ...]


def read_reports(content: bytes) -> list[ReceivedReport]:
    """Return the reports in a message, a gzip or zip file, or an XML file."""
    if len(content) > MAX_FILE:
        raise UnreadableReport(f"longer than {MAX_FILE} bytes")
    if _is_report_file(content):
        return [_read_xml(_unpacked(content))]
    found = [_read_xml(_unpacked(part)) for part in _attachments(content) if _is_report_file(part)]
    if not found:
        raise UnreadableReport("no report in it")
    return found


def _is_report_file(content: bytes) -> bool:
    return (
        content[:2] == b"\x1f\x8b" or content[:4] == b"PK\x03\x04" or content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<"
    )


def _attachments(content: bytes) -> Iterator[bytes]:
    try:
        message = email.message_from_bytes(content, policy=email.policy.compat32)
        for number, part in enumerate(message.walk()):
            if number >= MAX_PARTS:
                return
            if not part.is_multipart():
                payload = part.get_payload(decode=True)
                if isinstance(payload, bytes):
                    yield payload
    except (ValueError, LookupError, RecursionError) as error:
        raise UnreadableReport(f"a message that cannot be read: {error}") from error


def _unpacked(content: bytes) -> bytes:
    """Return the XML, at most MAX_XML bytes of it."""
    try:
        if content[:2] == b"\x1f\x8b":
            engine = zlib.decompressobj(31)
            text = engine.decompress(content, MAX_XML + 1)
            if not engine.eof and len(text) <= MAX_XML:
                raise UnreadableReport("a gzip file that is cut off")
        elif content[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                names = archive.infolist()[:MAX_PARTS]
                inner = next((it for it in names if it.filename.lower().endswith(".xml")), None)
                if inner is None:
                    raise UnreadableReport("a zip file without XML")
                with archive.open(inner) as file:
                    text = file.read(MAX_XML + 1)
        else:
            text = content
    except (zlib.error, zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        raise UnreadableReport(f"an archive that cannot be unpacked: {error}") from error
    if len(text) > MAX_XML:
        raise UnreadableReport(f"longer than {MAX_XML} bytes when unpacked")
    return text


def _read_xml(text: bytes) -> ReceivedReport:
    rows: list[ReportedRow] = []
    parts: dict[str, Element] = {}
    try:
        for element in _elements(io.BytesIO(text)):
            name = _name(element)
            if name == "record":
                rows.append(_row(element))
                element.clear()
                if len(rows) > MAX_ROWS:
                    raise UnreadableReport(f"more than {MAX_ROWS} rows")
            elif name in ("report_metadata", "policy_published"):
                parts.setdefault(name, element)
    except (ParseError, DefusedXmlException, LookupError, UnicodeError, ValueError) as error:
        raise UnreadableReport(f"XML that cannot be read: {error}") from error
    if len(parts) != 2:
        raise UnreadableReport("XML that is no report of DMARC")
    metadata, policy = parts["report_metadata"], parts["policy_published"]
    return ReceivedReport(
        reporter=_text(metadata, "org_name"),
        domain=_text(policy, "domain"),
        begin=_day(_text(metadata, "date_range", "begin")),
        end=_day(_text(metadata, "date_range", "end")),
        policy=_text(policy, "p"),
        rows=tuple(rows),
    )


def _elements(file: IO[bytes]) -> Iterator[Element]:
    """Yield the finished elements below the root."""
    depth = inner = 0
    root: Element | None = None
    for event, element in ElementTree.iterparse(file, events=("start", "end"), forbid_dtd=True):
        depth += 1 if event == "start" else -1
        if event == "start":
            root = element if root is None else root
            inner += 1
            if depth > MAX_DEPTH or inner > MAX_ELEMENTS:
                raise UnreadableReport("XML with too many elements in one another")
        elif depth == 1:
            inner = 0
            yield element
            if root is not None:
                root.clear()


def _row(record: Element) -> ReportedRow:
    count = _text(record, "row", "count")
    return ReportedRow(
        ip=_text(record, "row", "source_ip"),
        messages=int(count) if count.isascii() and count.isdigit() and len(count) < 16 else 0,
        disposition=_text(record, "row", "policy_evaluated", "disposition"),
        dkim=_text(record, "row", "policy_evaluated", "dkim"),
        spf=_text(record, "row", "policy_evaluated", "spf"),
        header_from=_text(record, "identifiers", "header_from"),
    )


def _text(element: Element, *names: str) -> str:
    """Return the text below an element, "" for none; namespaces do not matter."""
    for name in names:
        found = next((inner for inner in element if _name(inner) == name), None)
        if found is None:
            return ""
        element = found
    return " ".join((element.text or "")[:MAX_TEXT].split())


def _name(element: Element) -> str:
    tag: object = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _day(text: str) -> str:
    seconds = text.partition(".")[0]
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) < 11):
        return "?"
    return time.strftime("%Y-%m-%d", time.gmtime(int(seconds)))
