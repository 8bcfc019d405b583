"""data/templates/runit/var/log/qmail/qmail-smtpd"""
