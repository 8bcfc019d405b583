"""qmail-chkpw [subprogram [arg...]]: check the credentials on descriptor 3 against users/smtpauth.

There, each line is LOGIN:SECRET: a crypt(3) string for passwords, or clear text for CRAM-MD5 and APOP.  Who runs this
(qmaild for SMTP) must be able to read the file, and no others.  The subprogram runs for those who are right, with
their login in USER.  -e asks for a password, -r reads it from standard input; both write its crypt string to standard
error.
Exits: 1 wrong, 2 no credentials, 111 trouble; else those of the subprogram, or 0.
Source: programs.md 1.6; cr.yp.to/checkpwd/interface.html.
"""

import os

from eqmail_core.auth.checkpassword import ACCEPTED, DESCRIPTOR, MAX_BYTES, MISUSED, REFUSED, parse_credentials
from eqmail_core.auth.crypt import crypted, new_setting
from eqmail_core.auth.secrets_file import FILE, entries, find_secret
from eqmail_core.auth.verify import is_login
from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.system.files import read_file, read_upto
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import fatal

NAME = "qmail-chkpw"


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Check, and become the subprogram."""
    if argv[1:] in ([b"-e"], [b"-r"]):
        return _encrypt(argv[1] == b"-e")
    try:
        credentials = parse_credentials(read_upto(DESCRIPTOR, MAX_BYTES + 1))
        os.close(DESCRIPTOR)
    except OSError:
        return MISUSED
    if credentials is None:
        return MISUSED
    try:
        text = read_file(f"{read_site(environ).users}/{FILE}")
        if text is None:
            return fatal(NAME, f"users/{FILE} does not exist")
        secret = find_secret(text, credentials.user)
        others = (other for _, other in entries(text))
        if not is_login(credentials.password, credentials.challenge, secret, others, crypted):
            return REFUSED
        if len(argv) < 2:
            return ACCEPTED
        os.execvpe(argv[1], argv[1:], environ | {b"USER": credentials.user})
    except (OSError, ValueError) as error:
        return fatal(NAME, f"trouble: {error}")


def _encrypt(asks: bool) -> int:
    import getpass

    password = os.fsencode(getpass.getpass("Password: ")) if asks else read_upto(0, MAX_BYTES).partition(b"\n")[0]
    made = crypted(password, new_setting())
    if made is None:
        return EXIT_TEMPORARY
    os.write(2, made + b"\n")
    return ACCEPTED
