"""Lowered graphs: kept, shipped, rewritten."""
