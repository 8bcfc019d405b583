"""queue/service"""
