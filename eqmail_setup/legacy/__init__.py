"""The toolkit's programs under their classic names in bin/, one module each; `toolkit` has the mere entry points.

Each is called like every program of the suite: argv and environment as bytes, an exit code back. What they write is a
run like that of any command: on record, and taken back by `eqmail rollback`.
"""
