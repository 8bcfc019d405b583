"""unit/ipc"""
