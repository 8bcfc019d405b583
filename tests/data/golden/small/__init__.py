"""data/golden/small"""
