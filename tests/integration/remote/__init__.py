"""integration/remote"""
