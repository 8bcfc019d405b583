"""unit/queue"""
