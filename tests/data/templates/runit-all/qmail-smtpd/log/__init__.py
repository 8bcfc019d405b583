"""data/templates/runit-all/qmail-smtpd/log"""
