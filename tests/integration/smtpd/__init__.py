"""integration/smtpd"""
