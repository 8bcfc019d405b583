"""unit/smtpd"""
