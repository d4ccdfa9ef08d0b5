"""Who is asked beside the version that answers."""
