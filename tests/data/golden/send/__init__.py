"""data/golden/send"""
