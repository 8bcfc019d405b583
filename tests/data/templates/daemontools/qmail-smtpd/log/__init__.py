"""data/templates/daemontools/qmail-smtpd/log"""
