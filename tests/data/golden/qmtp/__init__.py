"""data/golden/qmtp"""
