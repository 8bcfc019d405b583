"""bench/drivers"""
