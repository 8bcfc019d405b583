"""data/golden/local"""
