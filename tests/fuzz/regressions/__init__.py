"""fuzz/regressions"""
