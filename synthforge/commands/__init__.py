"""The commands, one file a group; with cli.py the only ones to import across packages, lazily."""
