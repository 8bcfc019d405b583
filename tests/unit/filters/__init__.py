"""unit/filters"""
