"""How tensors are stored: recipes as data, and the arithmetic on arrays that carries them out.

It works on arrays and knows neither graphs nor checkpoints.
"""
