"""Local delivery: the spawner (root) and the agents (users)."""
