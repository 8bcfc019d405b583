"""fuzz/regressions/tcp_rules"""
