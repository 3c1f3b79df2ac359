"""The parity ladder: what a bundle computes, compared rung by rung with what it was made from.

``ladder`` runs the rungs in order; each is a function of values that returns a frozen ``Rung`` with
its figures, its tolerance and a verdict. ``reference`` runs unmodified transformers in a process of
its own. The reports only render.
"""
