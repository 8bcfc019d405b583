"""qsmhook [-DFlMmnPs] [-x prefix] command [arg ...]: run a mailer made for sendmail, from a .qmail file (obsolete).

In the words, %u is the local part, %h the host, %g the sender.  Exits with the command's code, or 100, 111.
Source: delivery.md 5.9; qsmhook.c.
"""

from eqmail_core.outcome import EXIT_PERMANENT, Failure
from eqmail_core.system.commands import run_with_input
from eqmail_core.system.log import fatal, log_line
from eqmail_core.text.options import BadOption, parse_options

NEEDED = (b"DTLINE", b"RPLINE", b"UFLINE", b"LOCAL", b"HOST", b"SENDER")


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Feed the command: the From_ line unless -n, Return-Path with -P, Delivered-To with -l, the message."""
    try:
        options, command = parse_options(argv, b"DFlMmnPsx:")
    except BadOption as bad:
        log_line("qsmhook", bad.text)
        return EXIT_PERMANENT
    if not command or not all(name in environ for name in NEEDED):
        return fatal("qsmhook", "incorrect usage", EXIT_PERMANENT)
    local = environ[b"LOCAL"]
    for letter, prefix in options:
        if letter == b"x" and local.lower().startswith(prefix.lower()):
            local = local[len(prefix) :]
    values = {b"u": local, b"h": environ[b"HOST"], b"g": environ[b"SENDER"], b"%": b"%"}
    letters = {letter for letter, _ in options}
    first = b"".join(
        environ[name]
        for name, wanted in (
            (b"UFLINE", b"n" not in letters),
            (b"RPLINE", b"P" in letters),
            (b"DTLINE", b"l" in letters),
        )
        if wanted
    )
    try:
        return run_with_input([filled(word, values) for word in command], environ, first)
    except Failure as failure:
        permanent = failure.exit_code == EXIT_PERMANENT
        return fatal("qsmhook", "command not found" if permanent else "temporary problem", failure.exit_code)


def filled(word: bytes, values: dict[bytes, bytes]) -> bytes:
    """Replace each % and the letter behind it; those with other letters vanish."""
    head, *rest = word.replace(b"%%", b"%\0").split(b"%")
    return head + b"".join((b"%" if part[:1] == b"\0" else values.get(part[:1], b"")) + part[1:] for part in rest)
