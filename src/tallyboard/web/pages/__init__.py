"""The pages: what they show and where they are reached."""
