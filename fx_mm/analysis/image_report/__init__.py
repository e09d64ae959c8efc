"""What a model found in an image: measured, compared, in sentences."""
