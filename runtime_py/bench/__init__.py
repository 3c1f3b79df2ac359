"""Measuring a bundle: what its calls cost, what both runtimes make of it, what drafting brings."""
