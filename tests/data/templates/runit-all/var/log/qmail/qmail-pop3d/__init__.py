"""data/templates/runit-all/var/log/qmail/qmail-pop3d"""
