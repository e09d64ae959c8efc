"""What a trained model gives to other tasks, and what it forgets."""
