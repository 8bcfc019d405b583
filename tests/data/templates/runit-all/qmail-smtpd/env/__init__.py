"""data/templates/runit-all/qmail-smtpd/env"""
