"""scheduler/memory"""
