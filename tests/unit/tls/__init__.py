"""unit/tls"""
