"""Filling a lowered graph with weights: matched by name, quantised, streamed behind the flatbuffer."""
