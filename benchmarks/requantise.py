"""Writes a GGUF file anew with its layers' matrices in other blocks, for a study of precisions.

    python benchmarks/requantise.py model.gguf Q8_0 Q5_1 Q4_0 --out folder

writes folder/model-Q8_0.gguf and so on. What is quantised is what the file's own blocks stand for,
so its first rounding stays in all of them. The types are those that the package gguf can write
(Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, BF16, F16, F32; not the K-quants). Embeddings, norms and metadata
are copied.
"""

import argparse
from pathlib import Path

import gguf


def requantise(source: Path, kind: gguf.GGMLQuantizationType, out: Path) -> None:
    """source, out: GGUF files."""
    reader = gguf.GGUFReader(source)
    arch = reader.get_field(gguf.Keys.General.ARCHITECTURE).contents()
    writer = gguf.GGUFWriter(out, arch)
    for field in reader.fields.values():
        # What the writer puts there itself.
        if field.name.startswith("GGUF.") or field.name == gguf.Keys.General.ARCHITECTURE:
            continue
        sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub)
    for tensor in reader.tensors:
        if len(tensor.shape) != 2 or not tensor.name.startswith("blk."):
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
            continue
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main(arguments: argparse.Namespace) -> None:
    arguments.out.mkdir(parents=True, exist_ok=True)
    for kind in arguments.kinds:
        out = arguments.out / f"{arguments.source.stem}-{kind}.gguf"
        requantise(arguments.source, gguf.GGMLQuantizationType[kind], out)
        print(out, f"{out.stat().st_size / 1e6:.0f} MB", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("kinds", nargs="+", help="Q8_0, Q5_1, ...")
    parser.add_argument("--out", type=Path, required=True)
    main(parser.parse_args())
