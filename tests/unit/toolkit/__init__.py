"""unit/toolkit"""
