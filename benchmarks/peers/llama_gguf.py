"""Writes a Qwen2 model as a GGUF file: `python llama_gguf.py FOLDER OUT`.

FOLDER has config.json and safetensors. Matrices become Q8_0 (32 weights share a scale of sixteen
bits), all else float32. No tokenizer is written: ids are asked for, and ids are answered.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from safetensors import safe_open


def main():
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    config = json.loads((folder / "config.json").read_bytes())
    writer = gguf.GGUFWriter(out, "qwen2")
    _describe(writer, config)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config["num_hidden_layers"])
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "numpy") as tensors:
            for name in tensors.offset_keys():
                values = tensors.get_tensor(name).astype(np.float32)
                known = names.get_name(name, try_suffixes=(".weight", ".bias"))
                if values.ndim < 2:
                    writer.add_tensor(known, values)
                else:
                    rounded = gguf.quants.quantize(values, Kind.Q8_0)
                    writer.add_tensor(known, rounded, raw_dtype=Kind.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer, config):
    rope = config.get("rope_parameters") or config
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)


if __name__ == "__main__":
    main()
