"""What things cost: seconds, bytes, and a server under load."""
