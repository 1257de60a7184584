"""The smallest thing that reads e-mails: a distilled encoder beside its teacher, on one core."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks.training.intervals import Interval
from benchmarks.training.learning import head_on_vectors
from benchmarks.training.rounding import opened
from benchmarks.training.rows import Task
from training.export.text import export_text_serving
from training.models.students import make
from training.recipe.recipe import ENCODER, StudentSection
from training.recipe.sections import DISTIL, RecipeStep
from training.steps.descent import TaughtRows, descend
from training.steps.distillation import Distillation

_STUDENT = StudentSection(ENCODER, width=32, layers=1)
_STEP = RecipeStep(DISTIL, epochs=12, learning_rate=3e-3, weight=0.5)
_TIMED = 200


def compare(task: Task, seeds: int) -> list[dict[str, Any]]:
    """One row: bytes of graph and tokenizer, accuracy beside the teacher's, time for a text."""
    rows, tokenizer = task.corpus.rows, task.material.read.tokenizer or b""
    every = torch.arange(len(task.corpus))
    teacher = replace(task, corpus=TaughtRows(replace(rows, vectors=rows.vectors)))
    logits = head_on_vectors(teacher, every, 0)
    theirs = _teacher_accuracy(task)
    shares, rights, graph = [], [], b""
    for seed in range(1, seeds + 1):
        torch.manual_seed(seed)
        net = make(_STUDENT, task.material.read)
        descend(net, Distillation(_STEP), TaughtRows(replace(rows, logits=logits)), _STEP, seed)
        graph = graph or export_text_serving(net.eval())
        told = torch.cat([net.answers(part)[1] for part in task.x_test.split(100)]).detach()
        rights.append(float((told.argmax(1) == task.y_test).float().mean()))
        shares.append(rights[-1] / theirs)
    return [
        {
            "part": "edge",
            "data": task.name,
            "graph_bytes": len(graph),
            "tokenizer_bytes": len(tokenizer),
            "megabytes": round((len(graph) + len(tokenizer)) / 1e6, 3),
            "teacher_accuracy": round(100 * theirs, 3),
            "accuracy": Interval.of(rights).shown(),
            "of_teacher": Interval.of(shares).shown(),
            "ms_a_text": _milliseconds(graph, task),
        }
    ]


def _teacher_accuracy(task: Task) -> float:
    """Of a head on MiniLM's vectors, fitted to all labels."""
    rows = task.corpus.rows
    if rows.vectors is None or task.vectors_test is None:
        raise ValueError("the task's rows have no vectors")
    both = torch.cat([rows.vectors, task.vectors_test])
    held = replace(task, corpus=TaughtRows(replace(rows, vectors=both)))
    logits = head_on_vectors(held, torch.arange(len(rows.y)), 0)[len(rows.y) :]
    return float((logits.argmax(1) == task.y_test).float().mean())


def _milliseconds(graph: bytes, task: Task) -> float:
    """CPU time of one text, the median of many."""
    session, times = opened(graph), []
    for row in task.x_test[:_TIMED].numpy():
        ids = row[row >= 0][None]
        began = time.process_time()
        session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        times.append(time.process_time() - began)
    return round(1000 * float(np.median(times)), 3)
