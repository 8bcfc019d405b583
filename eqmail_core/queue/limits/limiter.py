"""Applies the limits of submitters where mail enters the queue: it accepts, holds or refuses a message.

The settings are looked at again when mail comes and two seconds have passed, so a change needs no signal. What was
used is written to a file every ten seconds while it changes, and at the end; a crash loses the last of it.

Fails: never; a file that cannot be read or written is said in the log, and mail goes on.
"""

import os
import pwd
from collections import deque
from collections.abc import Callable
from typing import Protocol

from eqmail_core.access.client_network import client_network
from eqmail_core.control import submission_limits as control
from eqmail_core.control.submission_limits import LimitTable
from eqmail_core.dsn import parameters as dsn_parameters
from eqmail_core.dsn.parameters import DsnParameters, stored_envelope, submitted_dsn, with_dsn
from eqmail_core.dsn.submitter import fact
from eqmail_core.dsn.xtext import decode_xtext, encode_xtext
from eqmail_core.queue.format import exit_codes as q
from eqmail_core.queue.limits.usage import MAX_FILE_BYTES, Excess, Subject, UsageTable, parse_usage, render_usage
from eqmail_core.system.files import file_fingerprint, open_regular, read_file, read_upto, write_atomically
from eqmail_core.system.log import log_line
from eqmail_core.system.repeated_lines import say_seldom
from eqmail_core.text.lines import non_empty_lines

LOOK_EVERY_S = 2.0
SAVE_EVERY_S = 10.0

NOTICES_PER_HOUR = 20
"""Notices to postmaster in an hour, about all submitters."""

_HOUR_S = 3600
_MAX_REMARKS = 10

Run = Callable[[Callable[[], None], Callable[[object, OSError | None], None]], None]
"""Runs a job that blocks elsewhere, then calls with its result or error."""


class HostClocks(Protocol):
    """The two clocks: one that never goes back, and the one of the host."""

    def monotonic(self) -> float:
        """Return seconds since some moment."""

    def time(self) -> float:
        """Return seconds since the epoch."""


class SubmissionLimiter:
    """The limits in `setting`, a file, and their use, kept in `path`.

    `trusted`: uids that state who submits; their other mail, and that of the uids `exempt`, has no limits.
    `later(seconds, call)` calls on the owner's thread; `run` runs the writing of the file. `tell(excess)` sends a
    notice.
    """

    def __init__(
        self,
        name: str,
        setting: str,
        path: str,
        trusted: set[int],
        exempt: set[int],
        clock: HostClocks,
        later: Callable[[float, Callable[[], None]], object],
        run: Run,
        tell: Callable[[Excess], None],
    ) -> None:
        self._name = name
        self._setting = setting
        self._path = path
        self._trusted = trusted
        self._exempt = exempt
        self._clock = clock
        self._later = later
        self._run = run
        self._tell = tell
        self._told: deque[float] = deque(maxlen=NOTICES_PER_HOUR)
        self._fingerprint: object = None
        self._looks_at = 0.0
        self._is_on = False
        self._is_saving = False
        self._has_loaded = False
        self._usage = UsageTable(LimitTable())

    def admit(self, uid: int, envelope: bytes | bytearray, end: int) -> tuple[int, bytes]:
        """Return the exit code of qmail-queue and the envelope as it is stored, for a message of this uid.

        `end`: where the records of the checked envelope end.
        """
        now = self._clock.monotonic()
        if now >= self._looks_at:
            self._looks_at = now + LOOK_EVERY_S
            self._look(now)
        if not self._is_on:
            return q.OK, with_dsn(envelope, end)
        dsn = submitted_dsn(envelope, end)
        facts = self._facts(uid, dsn)
        records = bytes(envelope[:end])
        if not facts:
            if dsn is not None:
                dsn.facts = facts
            return q.OK, stored_envelope(records, dsn)
        excess = self._usage.spend(_subjects(facts), records.count(b"\0") - 1, now)
        self._save_later()
        if excess is not None:
            self._note(excess, now)
            if excess.refuses:
                return q.OVER_LIMIT, b""
            facts[dsn_parameters.HELD] = fact(excess.reason)
        dsn = dsn or DsnParameters()
        dsn.facts = facts
        return q.OK, stored_envelope(records, dsn)

    def _facts(self, uid: int, dsn: DsnParameters | None) -> dict[bytes, bytes]:
        if uid in self._trusted:
            stated = dsn.facts if dsn is not None else {}
            return {letter: value for letter, value in stated.items() if letter != dsn_parameters.HELD}
        return {} if uid in self._exempt else {dsn_parameters.UID: b"%d" % uid}

    def _note(self, excess: Excess, now: float) -> None:
        """Say that a submitter is over a limit: in the log, and to postmaster unless there were many notices."""
        if not excess.is_new:
            return
        done = "refused" if excess.refuses else "held"
        reason = excess.reason.decode("utf-8", "replace")
        say_seldom(self._name, f"notice: {reason}: mail over it is {done}")
        while self._told and self._told[0] <= now - _HOUR_S:
            self._told.popleft()
        if len(self._told) < NOTICES_PER_HOUR:
            self._told.append(now)
            self._tell(excess)
        else:
            say_seldom(
                self._name,
                "warning: too many notices about limits in this hour: postmaster gets no notice of the others",
            )

    # The settings

    def _look(self, now: float) -> None:
        fingerprint = file_fingerprint(self._setting)
        if fingerprint == self._fingerprint:
            return
        self._fingerprint = fingerprint
        try:
            text = read_file(self._setting)
        except OSError as error:
            log_line(self._name, f"alert: {self._setting}: {error.strerror}; the limits stay as they are")
            return
        table, wrong = control.parse_submission_limits(non_empty_lines(text or b""))
        for line, what in wrong[:_MAX_REMARKS]:
            log_line(self._name, f"warning: {self._setting}: {line.decode('utf-8', 'replace')!r} {what}; passed over")
        for user in table.resolve_users(uid_of_user):
            log_line(self._name, f"warning: {self._setting}: there is no user {user.decode('utf-8', 'replace')!r}")
        self._is_on = bool(table)
        self._usage.replace_limits(table)
        if self._is_on and not self._has_loaded:
            self._has_loaded = True
            self._load(now)

    # The file of usage

    def _load(self, now: float) -> None:
        try:
            fd = open_regular(self._path)
            if fd is None:
                return
            try:
                text = read_upto(fd, MAX_FILE_BYTES)
            finally:
                os.close(fd)
        except FileNotFoundError:
            return
        except OSError as error:
            log_line(self._name, f"warning: {self._path}: {error.strerror}; the limits begin anew")
            return
        stored, damaged = parse_usage(text)
        if damaged:
            log_line(self._name, f"warning: {self._path}: {damaged} lines are damaged and passed over")
        self._usage.load(stored, now, now - self._clock.time())

    def _save_later(self) -> None:
        if not self._is_saving:
            self._is_saving = True
            self._later(SAVE_EVERY_S, self._save)

    def _save(self) -> None:
        now = self._clock.monotonic()
        entries, offset_s = self._usage.snapshot(), self._clock.time() - now

        def write() -> None:
            # Rendered here, in the thread: there may be many.
            write_atomically(self._path, b"".join(render_usage(entries, now, offset_s)), 0o640)

        self._run(write, self._saved)

    def _saved(self, result: object, error: OSError | None) -> None:
        self._is_saving = False
        if error is not None:
            say_seldom(self._name, f"warning: {self._path}: {error.strerror}; the use of limits is not kept")

    def close(self) -> None:
        """Write the file once more, if anything was counted since the last time."""
        if self._is_saving:
            self._run = _run_now
            self._save()


def _run_now(job: Callable[[], None], then: Callable[[object, OSError | None], None]) -> None:
    try:
        job()
    except OSError as error:
        then(None, error)
    else:
        then(None, None)


def _subjects(facts: dict[bytes, bytes]) -> list[Subject]:
    """Return the submitters that facts name."""
    found = []
    login, address = facts.get(dsn_parameters.LOGIN), facts.get(dsn_parameters.ADDRESS)
    uid = facts.get(dsn_parameters.UID)
    if login is not None:
        found.append(Subject(control.LOGIN, encode_xtext(decode_xtext(login).lower())))
    if address is not None:
        network = address if b":" not in address else encode_xtext(client_network(decode_xtext(address)))
        found.append(Subject(control.ADDRESS, network))
    if uid is not None:
        found.append(Subject(control.UID, uid))
    return found


def uid_of_user(name: bytes) -> int | None:
    """Return the uid of a local user; None where there is none of that name."""
    try:
        return pwd.getpwnam(os.fsdecode(name)).pw_uid
    except (KeyError, ValueError):
        return None
