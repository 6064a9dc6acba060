"""What is installed, what was chosen, and the border that everything a plugin hands over crosses."""
