"""local/delivery"""
