"""`eqmail gen-runit`: service folders for runit."""

from eqmail_setup.cli.commands.gen import gen_command

command = gen_command("runit", "runit keeps the mail system running")
