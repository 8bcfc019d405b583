"""data/templates/runit-all/qmail-qmtpd/env"""
