"""unit/auth"""
