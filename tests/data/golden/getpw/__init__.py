"""data/golden/getpw"""
