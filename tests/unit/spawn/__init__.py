"""unit/spawn"""
