"""fuzz/regressions/small_formats"""
