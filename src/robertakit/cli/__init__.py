"""The command line, ``robertakit COMMAND``: one file a command, which parses, calls and prints.

No logic lives here; what a command does is a function elsewhere in the library.
"""
