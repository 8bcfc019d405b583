"""unit/pop3"""
