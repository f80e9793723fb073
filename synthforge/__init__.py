"""The contract of SynthForge: what a user asks for, what workers are told, what a dataset holds."""

__version__ = "0.1.0"
