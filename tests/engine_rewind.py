"""A child process: the stock engine goes back in a session, and answers from there.

    python engine_rewind.py BUNDLE FIRST SECOND BACK...

Both texts are taken as they are. For each number a session reads FIRST, goes back by so many tokens, reads
SECOND and answers; what it said, or null where the engine failed, goes to stdout as JSON.
"""

from __future__ import annotations

import ctypes
import json
import sys

import litert_lm


def main(bundle: str, first: str, second: str, *back: str) -> None:
    engine = litert_lm.Engine(
        bundle, litert_lm.Backend.CPU(), cache_dir=":nocache", enable_speculative_decoding=True
    )
    with engine:
        rewind = engine._lib.litert_lm_session_rewind_to_step
        rewind.argtypes = [ctypes.c_void_p, ctypes.c_int]
        length, said = len(engine.tokenize(first)), list[str | None]()
        for tokens in map(int, back):
            with engine.create_session(
                apply_prompt_template=False, max_output_tokens=60
            ) as session:
                session.run_prefill([first])
                assert rewind(session._ptr, length - tokens) == 0
                try:
                    session.run_prefill([second])
                    said.append(session.run_decode().texts[0])
                except RuntimeError:
                    said.append(None)
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
