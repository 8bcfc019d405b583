"""Messages that the scheduler has only in memory, and how they are spilled to the disk."""
