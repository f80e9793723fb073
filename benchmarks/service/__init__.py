"""How fast the control plane is: see `__main__`."""
