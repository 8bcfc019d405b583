"""data/golden/queue"""
