"""unit/mail"""
