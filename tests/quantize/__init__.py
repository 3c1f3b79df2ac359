"""Storage of rows and recipes, without graphs."""
