"""What is checked and timed on a GPU, stage by stage."""
