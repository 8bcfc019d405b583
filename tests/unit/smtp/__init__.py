"""unit/smtp"""
