"""qmail-pw2u [-/ohHuUC] [-c char]: turn passwd lines on standard input into an assign file on standard output.

Exits: 0, 100 bad option, 111.  Source: delivery.md 5.3; qmail-pw2u(8).
"""

from eqmail_core.outcome import EXIT_PERMANENT, EXIT_TEMPORARY
from eqmail_core.system.files import read_all, write_all
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import log_line
from eqmail_core.text.options import BadOption, parse_options
from eqmail_core.users.getpw import home_owner
from eqmail_core.users.pw2u import ANY_HOME, HOME_MUST_EXIST, SKIP_BAD_HOME, CannotAssign, assign_text
from eqmail_core.users.pw2u_lists import read_assign_rules

_SETTINGS = {
    b"/": ("dash", b"-/"),
    b"o": ("homes", SKIP_BAD_HOME),
    b"h": ("homes", HOME_MUST_EXIST),
    b"H": ("homes", ANY_HOME),
    b"u": ("allow_upper_case", True),
    b"U": ("allow_upper_case", False),
    b"C": ("break_char", b""),
}


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Write the assign file."""
    try:
        options, _ = parse_options(argv, b"/ohHuUc:C")
    except BadOption as bad:
        log_line("qmail-pw2u", bad.text)
        return EXIT_PERMANENT
    problem = b"unable to read controls"
    try:
        rules = read_assign_rules(read_site(environ))
        for letter, value in options:
            setattr(rules, *_SETTINGS.get(letter, ("break_char", value[:1])))
        problem = b"unable to read input"
        passwd = read_all(0).split(b"\n")
        problem = b"unable to write output"
        for line in assign_text(rules, passwd, home_owner):
            write_all(1, line)
    except (CannotAssign, OSError) as reason:
        log_line("qmail-pw2u", b"fatal: " + (reason.text if isinstance(reason, CannotAssign) else problem))
        return EXIT_TEMPORARY
    return 0
