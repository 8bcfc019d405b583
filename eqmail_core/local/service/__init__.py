"""The service of local delivery: spawner, agents, carrier and recipient look-up."""
