"""data/templates/runit/qmail-smtpd/env"""
