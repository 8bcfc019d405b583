"""data/templates"""
