"""One claim, tested for predictability, computability and stability."""
