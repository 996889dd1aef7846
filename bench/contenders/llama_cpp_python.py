"""llama.cpp itself as a contender, through the C functions that llama-cpp-python binds.

Arguments: GGUF model, threads, GGUF adapter or "".
"""

import ctypes
import sys

import llama_cpp as llama
import numpy as np
from protocol import BATCH, Stopwatch, serve

CONTEXT, ROWS = 4096, 512


def checked(value, what: str):
    if not value:
        raise RuntimeError(f"Expected llama.cpp to load {what}.")
    return value


def main() -> None:
    file, threads, adapter_file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    llama.llama_log_set(silent, ctypes.c_void_p(0))
    llama.llama_backend_init()
    model = checked(llama.llama_model_load_from_file(file.encode(), llama.llama_model_default_params()), file)
    parameters = llama.llama_context_default_params()
    parameters.n_ctx, parameters.n_batch, parameters.n_ubatch = CONTEXT, ROWS, ROWS
    parameters.n_seq_max, parameters.kv_unified = BATCH, True
    parameters.n_threads = parameters.n_threads_batch = threads
    context = checked(llama.llama_init_from_model(model, parameters), "a context")
    adapter = None
    if adapter_file:
        adapter = checked(llama.llama_adapter_lora_init(model, adapter_file.encode()), adapter_file)
    vocabulary_size = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))

    def decode(ids: list[int]) -> int:
        """Runs ids in batches; the likeliest next token."""
        for begin in range(0, len(ids), ROWS):
            part = ids[begin : begin + ROWS]
            array = (llama.llama_token * len(part))(*part)
            if llama.llama_decode(context, llama.llama_batch_get_one(array, len(part))) != 0:
                raise RuntimeError("Expected llama_decode to succeed.")
        return int(np.ctypeslib.as_array(llama.llama_get_logits_ith(context, -1), (vocabulary_size,)).argmax())

    def begin(wanted: bool) -> None:
        if adapter is not None:
            adapters = (llama.llama_adapter_lora_p_ctypes * 1)(adapter)
            scales = (ctypes.c_float * 1)(1.0)
            llama.llama_set_adapters_lora(context, adapters, 1 if wanted else 0, scales)
        llama.llama_memory_clear(llama.llama_get_memory(context), True)

    rows = llama.llama_batch_init(ROWS, 0, 1)

    def decode_rows(wanted: list[tuple[int, int, int, bool]]) -> list[int]:
        """(token, position, sequence, whether its next token is wanted) of each row; the likeliest next tokens of those."""
        next_tokens = []
        for start in range(0, len(wanted), ROWS):
            part = wanted[start : start + ROWS]
            rows.n_tokens = len(part)
            for i, (token, position, sequence, last) in enumerate(part):
                rows.token[i], rows.pos[i], rows.logits[i] = token, position, last
                rows.n_seq_id[i], rows.seq_id[i][0] = 1, sequence
            if llama.llama_decode(context, rows) != 0:
                raise RuntimeError("Expected llama_decode to succeed.")
            for i, (_, _, _, last) in enumerate(part):
                if last:
                    logits = np.ctypeslib.as_array(llama.llama_get_logits_ith(context, i), (vocabulary_size,))
                    next_tokens.append(int(logits.argmax()))
        return next_tokens

    def batch(prompts: list[list[int]], tokens: int, wanted: bool) -> Stopwatch:
        begin(wanted)
        watch = Stopwatch()
        length = len(prompts[0])
        ids = decode_rows(
            [(t, p, s, p == length - 1) for s, prompt in enumerate(prompts) for p, t in enumerate(prompt)]
        )
        watch.token()
        for step in range(tokens - 1):
            ids = decode_rows([(t, length + step, s, True) for s, t in enumerate(ids)])
            watch.token()
        return watch

    def generate(prompt: list[int], tokens: int, wanted: bool) -> Stopwatch:
        begin(wanted)
        watch = Stopwatch()
        ids = prompt
        for _ in range(tokens):
            ids = [decode(ids)]
            watch.token()
        return watch

    serve({"version": llama.__version__, "system": llama.llama_print_system_info().decode()}, generate, batch)


@llama.llama_log_callback
def silent(level, text, data) -> None:
    pass


if __name__ == "__main__":
    main()
