"""What is asked about a scenario, and what is made of the answers."""
