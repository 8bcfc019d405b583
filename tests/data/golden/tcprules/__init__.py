"""data/golden/tcprules"""
