"""Writes a GGUF model anew with its matrices in another type, from the same dequantised weights: what peers are measured with.

    python requantize_gguf.py SmolLM2-135M-Instruct.Q4_1.gguf Q8_0 SmolLM2-135M-Instruct.Q8_0.gguf

Matrices (two dimensions) are converted; vectors stay float32. Metadata and tokenizer are copied. Needs the packages gguf and numpy
(test/golden/requirements.txt has the versions).
"""

import argparse
from pathlib import Path

from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize, quantize

# Fields that the reader makes up, and those that the writer sets itself.
OWN_FIELDS = {"general.architecture", "general.file_type", "general.quantization_version"}
FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7}


def copy_metadata(reader: GGUFReader, writer: GGUFWriter) -> None:
    for field in reader.fields.values():
        if field.name in OWN_FIELDS or field.name.startswith("GGUF."):
            continue
        element = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], element)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("type", choices=FILE_TYPES)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    reader = GGUFReader(arguments.source)
    writer = GGUFWriter(arguments.target, reader.fields["general.architecture"].contents())
    writer.add_file_type(FILE_TYPES[arguments.type])
    writer.add_quantization_version(2)
    copy_metadata(reader, writer)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype("float32")
        wanted = GGMLQuantizationType[arguments.type] if len(tensor.shape) == 2 else GGMLQuantizationType.F32
        writer.add_tensor(tensor.name, quantize(values, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{arguments.target}: {arguments.target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
