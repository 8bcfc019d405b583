"""data/templates/s6/qmail-smtpd"""
