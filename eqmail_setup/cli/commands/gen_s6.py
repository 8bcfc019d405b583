"""`eqmail gen-s6`: service folders for s6."""

from eqmail_setup.cli.commands.gen import gen_command

command = gen_command("s6", "s6 keeps the mail system running")
