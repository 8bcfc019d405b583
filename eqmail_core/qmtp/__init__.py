"""qmtp"""
