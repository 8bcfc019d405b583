"""unit/dns"""
