"""Scaling studies: what more images and a larger model bring."""
