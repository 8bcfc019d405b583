"""integration/queue"""
