"""integration/event_loop"""
