"""One app: a page for people, the same functions for programs and agents."""
