"""data/golden/inject"""
