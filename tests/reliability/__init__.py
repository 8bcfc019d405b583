"""What becomes of acknowledged mail when services are killed, power fails, flushes fail, disks are full or rot.

`python -m tests.reliability --help` lists the parts; docs/reliability.md describes each of them.
"""
