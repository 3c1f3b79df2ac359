"""Bundles on LiteRT's GPU delegate."""
