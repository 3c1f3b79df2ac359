"""What an export decides by running the models over a text: codes (GPTQ), scales of int8 caches.

The passes need torch (the ``export`` extra); ``stage`` and ``text`` do not, and import them only when a
recipe or ``--kv-cache int8`` asks for it.
"""
