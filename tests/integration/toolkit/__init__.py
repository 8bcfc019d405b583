"""integration/toolkit"""
