"""integration/scheduler"""
