"""data/golden"""
