"""unit/access"""
