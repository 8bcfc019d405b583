"""data/smtp"""
