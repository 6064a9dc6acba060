"""A run: asking, scheduling, committing, stopping, and telling how far it is."""
