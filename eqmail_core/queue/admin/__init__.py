"""queue/admin"""
