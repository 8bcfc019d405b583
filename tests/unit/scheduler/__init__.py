"""unit/scheduler"""
