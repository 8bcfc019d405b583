"""`eqmail gen-systemd`: units for systemd."""

from eqmail_setup.cli.commands.gen import gen_command

command = gen_command("systemd", "systemd runs the mail system, with sockets of its own")
