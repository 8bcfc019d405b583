"""data/templates/runit-all/qmail-qmtpd/log"""
