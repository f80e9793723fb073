"""What a core gives, and whether our numbers equal the recorded ones."""
