"""Targets without a memory: parsers, which may fail only as they say they do."""

import os
import struct
import tempfile
from collections.abc import Callable, Iterator

from eqmail_core.auth.checkpassword import parse_credentials
from eqmail_core.auth.secrets_file import entries
from eqmail_core.control.controls import Controls
from eqmail_core.dsn.parameters import DsnParameters, RecipientDsn, parse_dsn, render_dsn, with_dsn
from eqmail_core.dsn.smtp_parameters import BadParameter, mail_parameters, read_mail, read_recipient
from eqmail_core.dsn.xtext import decode_xtext
from eqmail_core.ipc import (
    admission_protocol as admission_wire,
)
from eqmail_core.ipc import (
    delivery_protocol as delivery_wire,
)
from eqmail_core.ipc import (
    submission_protocol as queue_wire,
)
from eqmail_core.local.delivery import dotqmail
from eqmail_core.local.service import protocol as agent_wire
from eqmail_core.mail.address import quote_address
from eqmail_core.mail.address_list import ATOM, Unparsable, render, rewrite_addresses, text_of, tokenise
from eqmail_core.mail.header import field_name, field_text, is_field
from eqmail_core.queue.format import journal, journal_reading
from eqmail_core.queue.format.envelope import scan_envelope
from eqmail_core.queue.format.info import parse_info
from eqmail_core.queue.format.todo import BadTodo, parse_todo
from eqmail_core.remote.routes import parse_route
from eqmail_core.remote.tcpto_table import parse_table
from eqmail_core.site.site_file import parse_site
from eqmail_core.smtp.path import address_literal, parse_parameters, parse_path
from eqmail_core.smtpd.protocol.proxy_header import BadProxyHeader, parse_proxy_header
from eqmail_core.system.cdb import CdbDamaged, open_cdb
from eqmail_core.tcpserver.ident import user_in
from eqmail_core.tcpserver.rules import BadRule, database_records, keys_for, parse_record
from eqmail_core.tcpserver.rules_database import find_rule
from eqmail_core.text import framing as text0
from eqmail_core.users.assign_file import BadAssign
from eqmail_core.users.assign_file import database_records as user_records
from eqmail_core.users.lookup import find_in_database
from eqmail_core.users.user import LookupFailed

_MOST_RECORDS = 256
_SPECIAL = frozenset(b' \t\r\n([".,@<>:;')


def tcp_rules(data: bytes) -> None:
    """The text of rules, one of their records, and where a client's rule is sought."""
    try:
        for line in data.splitlines(keepends=True):
            records = list(database_records([line]))
            assert len(records) <= _MOST_RECORDS
            for _, record in records:
                parse_record(record)
    except BadRule:
        pass
    parse_record(data)
    ip, _, rest = data.partition(b"\0")
    host, _, info = rest.partition(b"\0")
    assert len(set(keys_for(ip, host, info))) <= 2 * len(data) + 7


_CDB = os.path.join(tempfile.gettempdir(), f"eqmail-fuzz-{os.getpid()}.cdb")


def cdb(data: bytes) -> None:
    """An invalid or damaged database."""
    with open(_CDB, "wb") as file:
        file.write(data)
    try:
        database = open_cdb(_CDB)
        assert database is not None
        with database:
            find_in_database(database.get, b"joe-list")
    except (CdbDamaged, LookupFailed, OSError):
        pass
    try:
        find_rule(_CDB, b"127.0.0.1", b"localhost", None)
    except OSError:
        pass
    finally:
        os.unlink(_CDB)


def controls(data: bytes) -> None:
    """Every control file with the same content."""
    for control in Controls.declared().values():
        control.parse(data)


def address_list(data: bytes) -> None:
    """A field of addresses; what is written of it can be read again and is the same list."""
    try:
        tokens = tokenise(data)
        rewritten = rewrite_addresses(tokens, lambda address: address)
    except Unparsable:
        return
    written = render(rewritten)
    text_of(rewritten)
    assert all(line[:1] in (b" ", b"\t") for line in written.split(b"\n")[1:-1]), "more than one field"
    # As C writes them, words do not come back whose newline had to be folded, and atoms that need a backslash.
    if not any(b"\n" in text or (kind == ATOM and set(text) & _SPECIAL) for kind, text in rewritten):
        assert tokenise(written) == rewritten


def queue_packets(data: bytes) -> None:
    """Packets to the queue service, which any local user may send."""
    for split in (queue_wire.split_whole, queue_wire.split_tagged, queue_wire.split_result):
        try:
            split(data)
        except queue_wire.SubmissionProtocolError:
            pass
    scan_envelope(data)
    text0.fields(data)


def delivery_packets(data: bytes) -> None:
    """Packets between the services, which trust each other to some extent."""
    wires: list[Callable[[bytes], object]] = [
        admission_wire.split_admission,
        admission_wire.split_serials,
        admission_wire.split_spill_request,
        delivery_wire.split_order,
        delivery_wire.split_report,
        delivery_wire.split_durable,
        lambda packet: agent_wire.split_orders(packet, []),
        agent_wire.split_reports,
    ]
    for split in wires:
        try:
            split(data)
        except (admission_wire.AdmissionProtocolError, ValueError, struct.error):
            pass


def journal_scan(data: bytes) -> None:
    """A segment of the journal: arbitrary bytes, and records behind an intact header."""
    journal_reading.read(memoryview(data))
    front, crc = journal.header(1, 1)
    record, after = journal.record(journal.RECORD, 1, 2, 3, 4, 5, b"Fa\0Tb\0", data, crc, epoch=1)
    entries = _entries(front + record + data + data[::-1])
    assert entries[0].body == data
    dead, _ = journal.tombstones([len(data)], after, epoch=1)
    last = _entries(front + record + data + dead + data)[1]
    assert journal.split_tombstones(last.body) == (len(data),)


def _entries(segment: bytes) -> list[journal.JournalEntry]:
    reading = journal_reading.read(memoryview(segment))
    assert reading is not None
    assert sum(journal.OVERHEAD + len(it.envelope) + len(it.body) for it in reading.entries) <= len(segment)
    return reading.entries


def proxy_header(data: bytes) -> None:
    """The header of a proxy: its prefixes are incomplete, and bytes after it change nothing."""
    try:
        _, length = parse_proxy_header(data)
        assert length <= len(data)
        for end in range(min(length, 300)):
            assert parse_proxy_header(data[:end]) == (None, 0)
        if length:
            assert parse_proxy_header(data[:length])[1] == parse_proxy_header(data + data)[1] == length
    except BadProxyHeader:
        pass


def smtp_path(data: bytes) -> None:
    """The argument of MAIL and RCPT."""
    address = parse_path(data)
    if address is not None:
        assert len(address) <= len(data)
        address_literal(address)
        quote_address(address)
    parse_parameters(data)


def smtp_dsn(data: bytes) -> None:
    """What follows the address of MAIL and RCPT, and what becomes of it as text."""
    readers: list[Callable[[], DsnParameters | None]] = [
        lambda: read_mail(data, True, True),
        lambda: mail_of(read_recipient(data)),
    ]
    for read in readers:
        try:
            dsn = read()
        except BadParameter:
            continue
        text = render_dsn(dsn)
        assert not text or render_dsn(parse_dsn(text)) == text
    for text in (data, b"W " + data):
        found = parse_dsn(text)
        if found is not None:
            assert b"\0" not in render_dsn(found)
            mail_parameters(found, knows_dsn=True)
    with_dsn(data, min(len(data), 5))
    decode_xtext(data)


def mail_of(recipient_dsn: RecipientDsn | None) -> DsnParameters | None:
    """A message with one recipient."""
    if recipient_dsn is None:
        return None
    dsn = DsnParameters()
    dsn.set_recipient(0, recipient_dsn)
    return dsn


def small_formats(data: bytes) -> None:
    """Formats of files that an administrator or the suite itself writes."""
    for instruction in dotqmail.parse(data):
        dotqmail.plain(instruction[1])
    for parse, declared in ((parse_todo, BadTodo), (lambda text: parse_site("/home", text), ValueError)):
        try:
            parse(data)
        except declared:
            pass
    try:
        list(user_records(data.splitlines(keepends=True)))
    except BadAssign:
        pass
    parse_info(data)
    parse_route(data)
    parse_table(data)
    parse_credentials(data)
    list(entries(data))
    user_in(data)
    if is_field(data):
        field_name(data)
        field_text(data)


def parsers() -> Iterator[tuple[str, Callable[[bytes], None]]]:
    """Name and function of each target here."""
    for target in (
        tcp_rules,
        cdb,
        controls,
        address_list,
        queue_packets,
        delivery_packets,
        journal_scan,
        proxy_header,
        smtp_path,
        smtp_dsn,
        small_formats,
    ):
        yield target.__name__, target
