"""`python -m demo.llm.convert FILE.gguf OUT`: a GGUF file as a folder in Hugging Face's layout.

transformers reads such files with the package `gguf`, which nothing else here needs: so this runs
in a process of its own, with that package on its path. Weights are written as float16, in shards:
what was rounded to four bits and a scale is kept better in its eleven digits than in bfloat16's
eight.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

_SHARD = "400MB"


def main(source: Path, out: Path) -> None:
    aside = out.with_name(f"{out.name}-unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    place = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    model = AutoModelForCausalLM.from_pretrained(
        **place, dtype=torch.float16, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(aside, max_shard_size=_SHARD)
    del model
    tokenizer = AutoTokenizer.from_pretrained(**place)
    template = tokenizer.chat_template
    tokenizer.save_pretrained(aside)
    # Where a version keeps its template: newer versions of the library write a file of its own.
    described = aside / "tokenizer_config.json"
    told = json.loads(described.read_bytes()) | {"chat_template": template}
    described.write_text(json.dumps(told, indent=2))
    aside.rename(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
