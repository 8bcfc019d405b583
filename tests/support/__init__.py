"""What several tests need: servers, clients, installations, harnesses."""
