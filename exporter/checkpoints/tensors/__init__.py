"""Tensors of a checkpoint: names, files, packed codes, rows read in blocks."""
