"""unit/users"""
