"""unit/system"""
