"""`eqmail gen-xinetd`: mail servers below xinetd."""

from eqmail_setup.cli.commands.gen import gen_command

command = gen_command("xinetd", "xinetd runs the SMTP and QMTP servers")
