"""queue/format"""
