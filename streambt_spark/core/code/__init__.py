"""The code of users' functions: its text, where it comes from, and all that it reaches."""
