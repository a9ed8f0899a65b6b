"""Streams a GGUF file of the shape of LLaMA 7B in Q4_K (random blocks) layer by layer, and the same
shape as bfloat16 safetensors: peak memory and time. Usage: python benchmarks/gguf_streaming.py
[--layers 32] [--scratch FOLDER]; 4 GB of disk for the file, 13 GB for the safetensors."""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gguf
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

WIDTH, FEED_FORWARD, HEADS, VOCABULARY = 4096, 11008, 32, 32000
MATRICES = {
    **dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (WIDTH, WIDTH)),
    **dict.fromkeys(("ffn_gate", "ffn_up"), (FEED_FORWARD, WIDTH)),
    "ffn_down": (WIDTH, FEED_FORWARD),
}
BLOCK, BYTES = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType.Q4_K]


def blocks(rows: int, columns: int, random: np.random.Generator) -> np.ndarray:
    """Random blocks whose values are about as large as a model's."""
    data = random.integers(0, 256, (rows, columns // BLOCK, BYTES), np.uint8)
    data[..., :4] = np.frombuffer(np.float16([5e-5, 4e-4]).tobytes(), np.uint8)
    return data.reshape(rows, -1)


def write(file: Path, layers: int) -> None:
    random, kind = np.random.default_rng(0), gguf.GGMLQuantizationType.Q4_K
    writer = gguf.GGUFWriter(file, "llama", use_temp_file=True)
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"t{i}" for i in range(VOCABULARY)])
    for name in ("token_embd", "output"):
        writer.add_tensor(f"{name}.weight", blocks(VOCABULARY, WIDTH, random), raw_dtype=kind)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for layer in range(layers):
        for name, shape in MATRICES.items():
            data = blocks(*shape, random)
            writer.add_tensor(f"blk.{layer}.{name}.weight", data, raw_dtype=kind)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def stream(model: str) -> None:
    """In a process of its own: some tokens through all layers and the head."""
    import torch

    from strata.extraction.extract import extract
    from strata.extraction.machine import peak_host_memory, tidy_heap
    from strata.extraction.task import Task, scores_of
    from strata.extraction.tree import build_tree, tokenize
    from strata.items import Item
    from strata.models.model import Model

    torch.set_num_threads(2)
    tidy_heap()
    started, spent = time.monotonic(), time.process_time()

    def ids(texts, add_special_tokens=True):
        return {"input_ids": [[1 + ord(c) % 1000 for c in text] for text in texts]}

    item = Item("a", "a", "", "Q: where is it?\nA:", (" here", " not here"), (True, False), 0)
    tokenized = tokenize(ids, [item])
    tree = build_tree(tokenized)
    found = extract(Model(model), Task(tree, scores_of(tokenized, [], tree)), ["normed"])
    assert np.isfinite(found.logprob["normed"]).all()
    print(
        f"{Path(model).name}: {time.monotonic() - started:.0f} s, "
        f"{time.process_time() - spent:.0f} CPU s, peak {peak_host_memory() / 2**30:.2f} GiB",
        flush=True,
    )


def convert(file: Path, folder: Path) -> None:
    """The same weights as bfloat16 safetensors, a file a layer."""
    import json

    import torch
    from safetensors.torch import save_file

    from strata.models.checkpoint import read_config
    from strata.models.tensors import open_tensors

    tensors, groups = open_tensors(file), {}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(read_config(file)))
    for name in tensors.shapes():
        groups.setdefault("-".join(name.split(".")[:3]), []).append(name)
    for group, names in groups.items():
        read = {name: tensors.read(name).to(torch.bfloat16).contiguous() for name in names}
        save_file(read, folder / f"{group}.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--scratch")
    parser.add_argument("--stream")
    arguments = parser.parse_args()
    if arguments.stream:
        return stream(arguments.stream)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        file, folder = Path(scratch, "seven.gguf"), Path(scratch, "seven")
        write(file, arguments.layers)
        convert(file, folder)
        for model in (file, folder):
            subprocess.run([sys.executable, __file__, "--stream", str(model)], check=True)


if __name__ == "__main__":
    main()
