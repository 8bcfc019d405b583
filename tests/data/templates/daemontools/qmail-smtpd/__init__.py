"""data/templates/daemontools/qmail-smtpd"""
