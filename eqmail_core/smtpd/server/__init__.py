"""smtpd/server"""
