"""data/smtpcheck/src"""
