"""unit/inject"""
