"""filters/milter"""
