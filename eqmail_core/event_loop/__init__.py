"""event_loop"""
