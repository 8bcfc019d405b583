"""integration/filters"""
