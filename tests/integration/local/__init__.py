"""integration/local"""
