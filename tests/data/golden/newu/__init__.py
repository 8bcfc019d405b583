"""data/golden/newu"""
