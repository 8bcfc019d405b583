"""data/templates/runit/qmail-smtpd/log"""
