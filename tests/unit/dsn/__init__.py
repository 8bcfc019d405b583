"""unit/dsn"""
