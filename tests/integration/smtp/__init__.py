"""integration/smtp"""
