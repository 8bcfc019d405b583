"""fuzz/regressions/controls"""
