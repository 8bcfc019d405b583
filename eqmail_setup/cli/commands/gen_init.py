"""`eqmail gen-init`: init scripts, SysV or OpenRC."""

from eqmail_setup.cli.commands.gen import gen_command

command = gen_command("init", "init starts and stops the mail system", ("sysv", "openrc"))
