"""Which tensor fills which weight of the graphs, and how it is stored, in every format."""
