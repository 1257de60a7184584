"""One of the processes that compute a split decoder (`generation.models.split`).

1. The processes meet at a file in a private folder: gloo on the CPU, over loopback only, NCCL on
   cards. Each reads its part of every matrix, by the plan of the architecture (transformers'
   `tp_plan`: layers are split by outputs, then by inputs, so that processes communicate twice a
   layer; Megatron-LM, Shoeybi et al., arXiv 1909.08053).
2. All receive the same commands in the same order, and run each to its end. The first one replies.
   One that fails ends: another may wait in a sum, which the next command would complete wrongly.
3. After each token the first one tells the others which it is, and whether anybody still waits for
   the next: no two processes can come to different answers.
"""

import os
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import distributed
from transformers import AutoModelForCausalLM, DynamicCache, PreTrainedModel
from transformers.distributed import DistributedConfig

from generation.batching.sampling import draw
from generation.models.perplexity import score
from generation.models.suffixes import JoinedMeasure
from inference.llm.request import Sampling
from inference.runtime.settings import CPU

_ON = -1


class Awaited(Protocol):
    """Whether the caller of an answer has gone; a `multiprocessing.Event`."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class SplitWork:
    """The work of `processes` processes: they load the weights in `folder`, in torch's `dtype` of
    that name, on the `device` `cpu` or `cuda`. They meet at the file `meeting`.
    """

    folder: Path
    meeting: Path
    processes: int
    device: str = CPU
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class Ready:
    """The first reply: how many weights a process holds, and how many the model has."""

    held: int
    whole: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The last reply of a process, which ends: it could not load its part, or a command failed."""

    how: str


@dataclass(frozen=True, slots=True)
class Done:
    """Comes after the last reply to a command."""


@dataclass(frozen=True, slots=True)
class AnswerCommand:
    """Reply the ids of an answer, one at a time."""

    prompt: tuple[int, ...]
    sampling: Sampling
    ends: tuple[int, ...]

    def run(self, model: PreTrainedModel, gone: Awaited | None) -> Iterator[int]:
        """3."""
        cache = DynamicCache(config=model.config)
        ids = torch.tensor([self.prompt], device=model.device)
        for said in count(1):
            out = model(input_ids=ids, cache=cache, use_cache=True, logits_to_keep=1)
            token = _agreed(self._choose(out.logits[0, -1], said), gone, model.device)
            if token == _ON:
                return
            yield token
            if token in self.ends or said == self.sampling.max_tokens:
                return
            ids = torch.tensor([[token]], device=model.device)

    def _choose(self, logits: torch.Tensor, said: int) -> int:
        if self.sampling.temperature > 0:
            return draw(logits, self.sampling, len(self.prompt) + said - 1)
        return int(logits.argmax())


def _agreed(token: int, gone: Awaited | None, device: torch.device) -> int:
    """The first process's token at all of them, or `_ON` where its caller has gone."""
    if gone is not None and gone.is_set():
        token = _ON
    told = torch.tensor([token], device=device)
    distributed.broadcast(told, 0)
    return int(told)


@dataclass(frozen=True, slots=True)
class ScoreCommand:
    """Reply a prompt's score; see `generation.models.perplexity.score`."""

    ids: tuple[int, ...]
    window: int
    written: tuple[bool, ...]
    tail: float
    joined: JoinedMeasure | None

    def run(self, model: PreTrainedModel, _: Awaited | None) -> Iterator[float]:
        yield score(model, self.ids, self.window, self.written, self.tail, self.joined)


@dataclass(frozen=True, slots=True)
class LogitsCommand:
    """Reply the logits [tokens, vocabulary] of ids, as float64 in numpy."""

    ids: tuple[int, ...]

    def run(self, model: PreTrainedModel, _: Awaited | None) -> Iterator[Any]:
        ids = torch.tensor([self.ids], device=model.device)
        yield model(input_ids=ids, use_cache=False).logits[0].cpu().double().numpy()


def serve(
    rank: int, work: SplitWork, commands: Connection, replies: Connection, gone: Awaited
) -> None:
    """Run one process of the group, until no commands come any more."""
    os.environ.update(_environment(rank, work))
    torch.set_num_threads(1)
    first = rank == 0
    try:
        # 1.
        on_cards = work.device != CPU
        if on_cards:
            torch.cuda.set_device(rank)
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if on_cards else "gloo",
            init_method=f"file://{work.meeting}",
            rank=rank,
            world_size=work.processes,
        )
        model = _read(work)
        if first:
            replies.send(_ready(model))
    except Exception as error:
        replies.send(Failed(_how(error)))
        raise SystemExit(1) from None
    # 2.
    while True:
        try:
            command = commands.recv()
        except EOFError:
            return
        _run(command, model, replies if first else None, gone if first else None)


def _run(
    command: Any, model: PreTrainedModel, replies: Connection | None, gone: Awaited | None
) -> None:
    told: Any = Done()
    try:
        with torch.inference_mode():
            for reply in command.run(model, gone):
                if replies is not None:
                    replies.send(reply)
    except Exception as error:
        told = Failed(_how(error))
    if replies is not None:
        replies.send(told)
    if isinstance(told, Failed):
        raise SystemExit(1)


def _read(work: SplitWork) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        work.folder,
        trust_remote_code=False,
        use_safetensors=True,
        local_files_only=True,
        dtype=getattr(torch, work.dtype),
        attn_implementation="sdpa",
        distributed_config=DistributedConfig(tp_size=work.processes, tp_plan="auto"),
    ).eval()
    return model.requires_grad_(False)


def _ready(model: PreTrainedModel) -> Ready:
    weights: Sequence[Any] = list(model.parameters())
    held = [each.to_local() if hasattr(each, "to_local") else each for each in weights]
    return Ready(sum(each.numel() for each in held), sum(each.numel() for each in weights))


def _environment(rank: int, work: SplitWork) -> dict[str, str]:
    found = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(work.processes),
        "LOCAL_WORLD_SIZE": str(work.processes),
        "GLOO_SOCKET_IFNAME": "lo",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    # The library takes cards wherever it sees some.
    return found | ({"CUDA_VISIBLE_DEVICES": ""} if work.device == CPU else {})


def _how(error: Exception) -> str:
    return traceback.format_exception_only(error)[-1].strip()[:300]
