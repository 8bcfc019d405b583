"""unit/local"""
