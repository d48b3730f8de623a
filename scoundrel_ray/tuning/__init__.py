"""What a machine's self-play should do, from the costs of its parts."""
