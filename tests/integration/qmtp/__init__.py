"""integration/qmtp"""
