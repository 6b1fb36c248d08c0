"""What the installation looks like from outside: its state now, and what it lacks."""
