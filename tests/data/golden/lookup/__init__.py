"""data/golden/lookup"""
