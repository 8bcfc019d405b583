"""smtpd/policy"""
