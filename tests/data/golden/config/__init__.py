"""data/golden/config"""
