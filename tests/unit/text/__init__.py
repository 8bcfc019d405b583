"""unit/text"""
