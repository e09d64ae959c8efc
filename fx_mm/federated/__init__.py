"""Sites that train one model together and share no image."""
