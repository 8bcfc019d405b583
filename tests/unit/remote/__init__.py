"""unit/remote"""
