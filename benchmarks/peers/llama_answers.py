"""llama.cpp, many answers at once: `python llama_answers.py FILE.gguf`, on one thread.

Reads lines of JSON: {"streams": 4, "tokens": 48, "ends": [1], "prompts": [[1, 2], …]}. Answers each
with a line: the seconds that all took, those until each prompt's first token, and the ids of each
answer, the likeliest token at each step.

Answers join and leave one batch at each step, as in llama.cpp's own server: a step has a token of
each answer, and the prompts for which there is room.
"""

import json
import sys
import time
from collections import deque

import numpy as np
from llama_cpp_py_sync import _cffi_bindings as bindings

_STEP, _CONTEXT = 512, 4096


class LlamaModel:
    """A model that answers ids with ids."""

    def __init__(self, path):
        self._ffi, self._lib = bindings.ffi, bindings.get_lib()
        self._quiet = self._ffi.callback("ggml_log_callback", lambda *_: None)
        self._lib.llama_log_set(self._quiet, self._ffi.NULL)
        self._lib.llama_backend_init()
        settings = self._lib.llama_model_default_params()
        settings.n_gpu_layers = 0
        self._model = self._lib.llama_model_load_from_file(path.encode(), settings)
        if self._model == self._ffi.NULL:
            raise SystemExit(f"{path} does not load")
        self._size = self._lib.llama_vocab_n_tokens(self._lib.llama_model_get_vocab(self._model))

    def open(self, streams):
        """A context for so many answers at once."""
        settings = self._lib.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = _CONTEXT, _STEP, _STEP
        settings.n_seq_max, settings.kv_unified = streams, True
        settings.n_threads = settings.n_threads_batch = 1
        return self._lib.llama_init_from_model(self._model, settings)

    def step(self, context, entries):
        """Of (id, position, stream, whether it is the last known one) the likeliest next id of each
        that is the last.
        """
        batch = self._lib.llama_batch_init(len(entries), 0, 1)
        batch.n_tokens = len(entries)
        for at, (token, position, stream, last) in enumerate(entries):
            batch.token[at], batch.pos[at] = token, position
            batch.n_seq_id[at], batch.seq_id[at][0] = 1, stream
            batch.logits[at] = last
        failed = self._lib.llama_decode(context, batch)
        self._lib.llama_batch_free(batch)
        if failed:
            raise SystemExit(f"llama_decode: {failed}")
        return {
            stream: self._likeliest(context, at)
            for at, (_, _, stream, last) in enumerate(entries)
            if last
        }

    def forget(self, context, stream):
        self._lib.llama_memory_seq_rm(self._lib.llama_get_memory(context), stream, -1, -1)

    def close(self, context):
        self._lib.llama_free(context)

    def _likeliest(self, context, at):
        logits = self._lib.llama_get_logits_ith(context, at)
        values = np.frombuffer(self._ffi.buffer(logits, 4 * self._size), np.float32)
        return int(values.argmax())


def answer(engine, asked):
    """Answers the request in a line."""
    prompts, free = asked["prompts"], deque(range(asked["streams"]))
    context, waiting = engine.open(asked["streams"]), deque(range(len(prompts)))
    running, ids, first = {}, [[] for _ in prompts], [0.0] * len(prompts)
    begun = time.perf_counter()
    while waiting or running:
        entries = [
            (ids[n][-1], len(prompts[n]) + len(ids[n]) - 1, s, 1) for s, n in running.items()
        ]
        while waiting and free and len(entries) + len(prompts[waiting[0]]) <= _STEP:
            number, stream = waiting.popleft(), free.popleft()
            running[stream], prompt = number, prompts[number]
            last = len(prompt) - 1
            entries += [(token, at, stream, at == last) for at, token in enumerate(prompt)]
        for stream, token in engine.step(context, entries).items():
            number = running[stream]
            first[number] = first[number] or time.perf_counter() - begun
            ids[number].append(token)
            if len(ids[number]) == asked["tokens"] or token in asked["ends"]:
                del running[stream]
                engine.forget(context, stream)
                free.append(stream)
    seconds = time.perf_counter() - begun
    engine.close(context)
    return {"seconds": seconds, "first": first, "ids": ids}


def main():
    engine = LlamaModel(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(answer(engine, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
