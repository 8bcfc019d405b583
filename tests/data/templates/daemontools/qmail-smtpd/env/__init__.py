"""data/templates/daemontools/qmail-smtpd/env"""
