"""data/templates/runit-all/qmail-smtpsd"""
