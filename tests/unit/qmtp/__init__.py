"""unit/qmtp"""
