"""Executors on LiteRT: the CPU, the GPU delegate, several sequences at once."""
