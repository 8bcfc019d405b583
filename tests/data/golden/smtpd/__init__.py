"""data/golden/smtpd"""
