"""The story that `make demo-llm` plays: a language model's way to an answer that can be proved."""

import json
import time
from pathlib import Path
from typing import Any

from demo.llm import chats
from demo.llm.chats import LEAKED, NAME, ChatAnswer, ask, ask_streamed
from demo.llm.stage import GeneratorStage, children
from demo.materials import DATA, MODELS
from demo.policy import change_policy
from demo.stage import free_ports
from demo.story import promote_approved
from sealgate.reasons import Reason

GUARD = "prompt-guard"
_LIMITS = ("--prompt-tokens", "512", "--output-tokens", "128")
_TOKENS, _LEAK_TOKENS = 48, 64
_LARGEST_LOSS = 0.005
_THREADS = 2
_LEAK, _MASKED, _INJECTED = "leak", "masked", "injected"


def install(stage: GeneratorStage) -> None:
    """An installation with a process that generates; both are started."""
    port = str(free_ports())
    stage.command(
        "init", "--unencrypted-keys", "--name", "demo", "--port", port, "--separate-engine"
    )
    stage.configure()
    stage.start_generator()
    stage.start_gateway()
    stage.note(f"sealgate is typed with --state {stage.state}")
    stage.check("installation", True, "the gateway and, behind a socket of its own, the generator")


def publish(stage: GeneratorStage, folder: Path, prompts: Path, precision: str) -> None:
    """The model, and the classifier that will read its prompts."""
    began, computed = time.monotonic(), children()[0]
    guard = ("model", "publish", str(MODELS / GUARD), "--data", str(DATA / f"{GUARD}.safetensors"))
    model = (
        *("model", "publish-generator", str(folder), "--name", NAME, "--prompts", str(prompts)),
        *("--data", "public web text", "--license", "Apache-2.0", "--use", "a demonstration"),
        *("--precision", precision, *_LIMITS, "--json"),
    )
    classifier = stage.command(*guard, "--json", person="publisher")
    told = stage.command(*model, person="publisher", threads=_THREADS)
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e9
    cpu, memory = children()
    stage.check(
        "publish",
        told["version"] == classifier["version"] == 1,
        f"{size:.2f} GB of weights and the classifier in {time.monotonic() - began:.0f} s, "
        f"{cpu - computed:.0f} s of them computing, with {memory:.2f} GB of memory at most",
    )
    _check_mark(stage, told, precision)


def _check_mark(stage: GeneratorStage, told: dict[str, Any], precision: str) -> None:
    z = told["watermark_z_stored"], told["watermark_z_int8"]
    stage.check("watermark", min(z) >= 12, f"z = {z[0]:.1f} as stored, {z[1]:.1f} in INT8")
    before, after = told["perplexity_unmarked"], told["perplexity_marked"]
    stage.check(
        "what marking cost",
        after / before - 1 <= _LARGEST_LOSS,
        f"perplexity {before:.3f} before, {after:.3f} marked, "
        f"{told['perplexity_served']:.3f} as it answers ({precision})",
    )


def promote(stage: GeneratorStage) -> None:
    """Both, approved twice; the generator checks the proof for itself."""
    for model in (GUARD, NAME):
        promote_approved(stage, model, 1)
    began = time.monotonic()
    # It copies, checks and loads the model, and answers its golden prompts.
    for model in (GUARD, NAME):
        stage.await_ready(model)
    stage.check("in production", True, f"{time.monotonic() - began:.0f} s after its promotion")


def ask_freely(stage: GeneratorStage) -> None:
    """Before the policy has rules for it: an answer as it is written, and a key that leaves."""
    answer = ask_streamed(stage, "question", chats.question(chats.QUESTION), _TOKENS)
    told = (
        f"{answer.parts} parts, the first after {answer.first:.2f} s, then {answer.rate:.1f} "
        "a second"
    )
    stage.check("streamed", answer.parts > 1 and not answer.refused, answer.refused or told)
    leak = ask(stage, _LEAK, chats.about_key(), _LEAK_TOKENS)
    _show(stage, leak)
    found = f"{LEAKED} is in the answer" if LEAKED in leak.text else leak.refused or "it does not"
    stage.check("without rules, the key leaves", LEAKED in leak.text, found)


def set_rules(stage: GeneratorStage) -> None:
    """The classifier reads prompts, and secrets in answers are masked, by a policy that two roots
    sign.
    """
    shown = stage.command("model", "show", GUARD, "1", "--json", person="auditor")
    rules = {
        "guard": {"version": shown["digest"], "label": "injection", "action": "block"},
        "answers": {"hold_tokens": 48, "secrets": "mask"},
    }
    stage.note(f'"screens": {json.dumps({NAME: rules})}')
    change_policy(stage, lambda document: document.update(screens={NAME: rules}))
    stage.check("policy", True, "signed by two roots, and in force")


def ask_again(stage: GeneratorStage) -> None:
    """A document, the same one with an injection in it, a suffix as attacks find them, the key."""
    clean = ask(stage, "document", chats.summary(chats.DOCUMENT), _TOKENS)
    _show(stage, clean)
    stage.check("a document", bool(clean.text), clean.refused or "summarised")
    injected = ask(stage, _INJECTED, chats.summary(f"{chats.DOCUMENT} {chats.INJECTION}"), _TOKENS)
    _expect(stage, "the same with an injection in it", injected, Reason.PROMPT_INJECTION)
    noise = ask(stage, "noise", chats.question(f"{chats.QUESTION} {chats.NOISE}"), _TOKENS)
    _expect(stage, "a suffix as attacks find them", noise, Reason.ADVERSARIAL_INPUT)
    masked = ask(stage, _MASKED, chats.about_key(), _LEAK_TOKENS)
    _show(stage, masked)
    stage.check(
        "the key, masked",
        "[secret]" in masked.text and LEAKED not in masked.text,
        "[secret] is in its place" if "[secret]" in masked.text else masked.refused or "it is not",
    )


def prove(stage: GeneratorStage) -> None:
    """The masked answer again from the signed files, both logs, and receipts without a gateway."""
    peaks = stage.peaks()
    masked, injected = (stage.state / f"{name}.receipt" for name in (_MASKED, _INJECTED))
    again = stage.command(
        *("audit", "replay-generator", str(masked), "--chat", "--json"),
        *("--prompt", str(stage.state / f"{_MASKED}.messages.json")),
        *("--max-tokens", str(_LEAK_TOKENS)),
        person="auditor",
    )
    same = again["answer"] == "the same to its end"
    stage.check("replayed", same, f"{again['answer']}, {again['tokens']} tokens")
    logs = stage.command("audit", "verify", "--wait", "60", "--json", person="auditor")
    found = ", ".join(f"{log['entries']} entries in {log['log']}" for log in logs)
    stage.check("logs", all(log["found"] == "intact" for log in logs), found)
    stage.check("memory", True, ", ".join(f"{name} {gb:.2f} GB" for name, gb in peaks.items()))
    stage.stop_gateway()
    expected = (
        (masked, "answered", "masked"),
        (injected, Reason.PROMPT_INJECTION.name, "blocked"),
    )
    for file, outcome, actions in expected:
        told = stage.command("receipt", "verify", str(file), "--json", person="client")
        proved = (told["proof"], told["outcome"], told["actions"])
        stage.check(
            f"receipt, {outcome}",
            proved == ("holds", outcome, actions),
            f"{told['model']} {told['version']}, {told['version_digest'][:19]}…, "
            f"actions: {told['actions'] or 'none'}",
        )


def _show(stage: GeneratorStage, asked: ChatAnswer) -> None:
    for line in asked.text.strip().splitlines():
        stage.note(f"| {line}")


def _expect(stage: GeneratorStage, step: str, asked: ChatAnswer, reason: Reason) -> None:
    found = f"refused, {asked.refused}" if asked.refused else f"answered: {asked.text}"
    stage.check(step, asked.refused == reason.name, found)
