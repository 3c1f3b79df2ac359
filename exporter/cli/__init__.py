"""The ``mtp-export`` command: options to values, one library call, and its result shown.

One file per command. Results go to stdout, progress and notes to stderr. Heavy imports happen
inside the commands, so that ``--help`` answers at once.
"""
