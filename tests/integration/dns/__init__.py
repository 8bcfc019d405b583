"""integration/dns"""
