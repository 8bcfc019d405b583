"""`eqmail gen-daemontools`: service folders for daemontools."""

from eqmail_setup.cli.commands.gen import gen_command

command = gen_command("daemontools", "daemontools keeps the mail system running")
