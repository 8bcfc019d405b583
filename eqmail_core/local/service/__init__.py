"""local/service"""
