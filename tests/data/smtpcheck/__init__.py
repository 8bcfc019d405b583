"""data/smtpcheck"""
