"""queue/client"""
