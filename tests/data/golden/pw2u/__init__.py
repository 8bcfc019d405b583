"""data/golden/pw2u"""
