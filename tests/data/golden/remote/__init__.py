"""data/golden/remote"""
