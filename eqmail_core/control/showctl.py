"""The report of qmail-showctl: every classic setting in a sentence, and whether it is a default.

Names and defaults come from the declarations; the sentences are those that administrators and scripts know.

Source: programs.md 1.9 (qmail-showctl.c).
"""

from eqmail_core.control.controls import Controls
from eqmail_core.control.kinds import Count
from eqmail_core.control.setting import Control, ControlError
from eqmail_core.text.lines import first_line, leading_number, non_empty_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_SHOWN = bytes(byte if 32 <= byte <= 126 else 63 for byte in range(256))
_PROBLEM = b"Oops! Trouble reading this file.\n"
_DEFAULT = b"(Default.) "
_DOMAIN = "SMTP clients may send messages to recipients at "

# Setting; what its absence means, where that is not a value (a list); text before and after the value.
_TABLE: "tuple[tuple[Control[object], str, str, str], ...]" = (
    (Controls.badmailfrom, "Any MAIL FROM is allowed.", "", " not accepted in MAIL FROM."),
    (Controls.bouncefrom, "", "Bounce user name is ", "."),
    (Controls.bouncehost, "", "Bounce host name is ", "."),
    (Controls.concurrencylocal, "", "Local concurrency is ", "."),
    (Controls.concurrencyremote, "", "Remote concurrency is ", "."),
    (Controls.databytes, "", "SMTP DATA limit is ", " bytes."),
    (Controls.defaultdomain, "", "Default domain name is ", "."),
    (Controls.defaulthost, "", "Default host name is ", "."),
    (Controls.doublebouncehost, "", "2B recipient host: ", "."),
    (Controls.doublebounceto, "", "2B recipient user: ", "."),
    (Controls.envnoathost, "", "Presumed domain name is ", "."),
    (Controls.helohost, "", "SMTP client HELO host name is ", "."),
    (Controls.idhost, "", "Message-ID host name is ", "."),
    (Controls.localiphost, "", "Local IP address becomes ", "."),
    (Controls.locals, "Messages for me are delivered locally.", "Messages for ", " are delivered locally."),
    (Controls.me, "", "My name is ", "."),
    (Controls.percenthack, "The percent hack is not allowed.", "The percent hack is allowed for user%host@", "."),
    (Controls.plusdomain, "", "Plus domain name is ", "."),
    (Controls.qmqpservers, "No QMQP servers.", "QMQP server: ", "."),
    (Controls.queuelifetime, "", "Message lifetime in the queue is ", " seconds."),
    (Controls.rcpthosts, "SMTP clients may send messages to any recipient.", _DOMAIN, "."),
    (Controls.morercpthosts, "No effect.", _DOMAIN, "."),
    (Controls.morercpthosts_cdb, "No effect.", "", ""),
    (Controls.smtpgreeting, "", "SMTP greeting: 220 ", "."),
    (Controls.smtproutes, "No artificial SMTP routes.", "SMTP route: ", ""),
    (Controls.timeoutconnect, "", "SMTP client connection timeout is ", " seconds."),
    (Controls.timeoutremote, "", "SMTP client data timeout is ", " seconds."),
    (Controls.timeoutsmtpd, "", "SMTP server data timeout is ", " seconds."),
    (Controls.virtualdomains, "No virtual domains.", "Virtual domain: ", ""),
)
_NOT_CONSULTED = (
    "No rcpthosts; morercpthosts is irrelevant.",
    "No rcpthosts; doesn't matter that morercpthosts has ",
    ".",
)
_UNNAMED = b"undefined! Uh-oh"


def settings_report(
    controls: Controls, files: "Iterable[str]", changed: "Callable[[str], float | None]"
) -> "Iterator[bytes]":
    """The blocks of the report, in its order; then one for each of the other `files` in the control folder.

    `changed(name)` is the time at which a control file was last changed, None where it does not exist.
    Fails: ControlError when `me` cannot be read; trouble with another file is part of the report.
    """
    me = controls.content(Controls.me.file)
    has_rcpthosts = changed(Controls.rcpthosts.file) is not None
    for control, absent, before, after in _TABLE:
        if control is Controls.morercpthosts and not has_rcpthosts:
            absent, before, after = _NOT_CONSULTED
        if control is Controls.morercpthosts_cdb:
            text = _compiled_text(changed)
        else:
            try:
                content = controls.content(control.file)
                text = _text(control, content, me, absent, before.encode(), after.encode())
            except ControlError:
                text = _PROBLEM
        yield b"\n%b: %b" % (control.file.encode(), text)
    classic = {control.file for control, *_ in _TABLE}
    declared = {control.file: control for control in Controls.declared().values() if control.since}
    for name in files:
        if name in declared:
            yield b"\n%b: %b\n" % (name.encode(), declared[name].manual.encode())
        elif name not in classic:
            yield b"\n%b: I have no idea what this file does.\n" % name.encode("utf-8", "surrogateescape")


def _text(
    control: "Control[object]", content: bytes | None, me: bytes | None, absent: str, before: bytes, after: bytes
) -> bytes:
    """What one file says; `absent` marks a list, which is never a single value."""
    if absent:
        if content is None:
            return _DEFAULT + absent.encode() + b"\n"
        entries = (before + entry.translate(_SHOWN) + after + b"\n" for entry in non_empty_lines(content))
        return b"\n" + b"".join(entries)
    value = None if content is None else first_line(content)
    if isinstance(control, Count):
        number = None if value is None else leading_number(value)
        value = None if number is None else b"%d" % number
    if value is None:
        before, value = _DEFAULT + before, _default(control, me)
    return before + value.translate(_SHOWN) + after + b"\n"


def _default(control: "Control[object]", me: bytes | None) -> bytes:
    if control is Controls.me:
        return _UNNAMED
    if control.falls_back_to_me and me is not None:
        return first_line(me)
    if control.default is None:
        return control.file.encode()
    return control.default if isinstance(control.default, bytes) else str(control.default).encode()


def _compiled_text(changed: "Callable[[str], float | None]") -> bytes:
    source, compiled = Controls.morercpthosts.file, Controls.morercpthosts_cdb.file
    source_time, compiled_time = changed(source), changed(compiled)
    if source_time is None:
        if compiled_time is None:
            return b"(Default.) No effect.\n"
        return f"Oops! {compiled} exists but {source} doesn't.\n".encode()
    if compiled_time is None:
        return f"Oops! {source} exists but {compiled} doesn't.\n".encode()
    if source_time > compiled_time:
        return f"Oops! {compiled} is older than {source}.\n".encode()
    return b"Modified recently enough; hopefully up to date.\n"
