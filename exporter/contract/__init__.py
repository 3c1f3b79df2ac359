"""The engine's contract: names, shapes and types of all that crosses the boundary of a graph."""
