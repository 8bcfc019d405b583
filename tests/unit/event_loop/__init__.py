"""unit/event_loop"""
