"""unit/tools"""
