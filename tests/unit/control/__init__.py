"""unit/control"""
