"""LiteRT runs the lowered and bound graphs; torch says what they should give."""
