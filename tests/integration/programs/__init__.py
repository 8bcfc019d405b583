"""integration/programs"""
