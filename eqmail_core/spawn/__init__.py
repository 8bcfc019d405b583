"""The classic spawner protocol and loop, and the check of delivery orders."""
