"""integration/supervisor"""
