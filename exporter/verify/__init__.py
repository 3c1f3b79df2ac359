"""The parity ladder: what a bundle computes, compared rung by rung with what it was made from.

``ladder`` climbs the rungs in order. Each is a module of ``rungs`` that compares parts of the ``evidence``
and returns a frozen ``Rung`` with its figures, its tolerance and a verdict. ``sides`` make the evidence;
``sides.reference`` runs unmodified transformers in a process of its own. The reports only render.
"""
