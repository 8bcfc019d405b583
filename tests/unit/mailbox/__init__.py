"""unit/mailbox"""
