"""smtpd/protocol"""
