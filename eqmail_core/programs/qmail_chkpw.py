"""qmail-chkpw [-m] [subprogram [arg...]]: check the credentials on descriptor 3 against users/smtpauth.

There, each line is LOGIN:SECRET: a crypt(3) string for passwords, or clear text for CRAM-MD5 and APOP.  Who runs this
(qmaild for SMTP) must be able to read the file, and no others.  The subprogram runs for those who are right, with
their login in USER.  With -m it runs as the user whose mailbox the login has, in that home; a login whose mail is an
alias, or an extension of a user, is refused.  -e asks for a password, -r reads it from standard input; both write its
crypt string to standard error.
Exits: 1 wrong, 2 no credentials, 111 trouble; else those of the subprogram, or 0.
Source: programs.md 1.6; cr.yp.to/checkpwd/interface.html.
"""

import os

from eqmail_core.auth.checkpassword import ACCEPTED, DESCRIPTOR, MAX_BYTES, MISUSED, REFUSED, parse_credentials
from eqmail_core.auth.password_check import check_login, write_hash
from eqmail_core.auth.secrets_file import FILE
from eqmail_core.system.files import read_upto
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import fatal

NAME = "qmail-chkpw"


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Check, and become the subprogram."""
    if argv[1:] in ([b"-e"], [b"-r"]):
        return write_hash(asks=argv[1] == b"-e")
    owns = argv[1:2] == [b"-m"]
    program = argv[2:] if owns else argv[1:]
    try:
        credentials = parse_credentials(read_upto(DESCRIPTOR, MAX_BYTES + 1))
        os.close(DESCRIPTOR)
    except OSError:
        return MISUSED
    if credentials is None:
        return MISUSED
    try:
        site = read_site(environ)
        is_right = check_login(site, credentials, challenge_is_optional=owns)
        if is_right is None:
            return fatal(NAME, f"users/{FILE} does not exist")
        if not is_right:
            return REFUSED
        identity = {b"USER": credentials.user}
        if owns:
            # Imported here: SMTP checks need no users.
            from eqmail_core.pop3.mailbox_owner import become_owner

            identity = become_owner(site, credentials.user)
        if not identity:
            return REFUSED
        if not program:
            return ACCEPTED
        os.execvpe(program[0], program, environ | identity)
    except (OSError, ValueError) as error:
        return fatal(NAME, f"trouble: {error}")
