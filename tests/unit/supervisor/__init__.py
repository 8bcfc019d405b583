"""unit/supervisor"""
