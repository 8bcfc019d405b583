"""data/templates/runit/qmail-smtpd"""
