"""A project on a server: sent, set up and run there; the bundle comes back."""
