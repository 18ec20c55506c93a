"""openr1: from a base model to a measured R1-style reasoning model, on the machine you have."""

__version__ = "0.1.0"
