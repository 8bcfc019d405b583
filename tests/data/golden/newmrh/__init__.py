"""data/golden/newmrh"""
