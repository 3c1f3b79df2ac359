"""What storing weights in few bits costs: figures per tensor and per recipe, and the search they steer.

Everything is measured with the real LiteRT graphs of a bundle; torch is not needed.
"""
