"""`sealgate audit replay-generator`: asks a language model again on the auditor's machine.

Files come from the registry and are used after their signature and digests are verified.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

import generation.cli.generator  # noqa: F401  # says at once what is not installed
from inference.llm.messages import DEFAULT_TOKENS
from inference.llm.request import Sampling, SamplingRequest
from inference.runtime.providers import check_device, select_device
from inference.runtime.settings import CPU
from sealgate.cli.context import connected, policy_history, profile
from sealgate.cli.options import EXISTING_FILE
from sealgate.cli.output import json_option, show_fields
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import Profile
from sealgate.signed_version import SignedVersion
from sealgate.trust.policy import AnswerRules, Policy
from sealgate.trust.receipts import Receipt, verify_by_history
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

_NEEDED = {"model", "version", "version_digest", "policy_digest"} | {
    *("input", "output", "outcome", "verdict", "time")
}


@dataclass(frozen=True, slots=True)
class _Files:
    """A `FileSource`: those of a signed version, one at a time."""

    registry: RegistryServiceStub
    signed: SignedVersion

    def read(self, digest: str) -> bytes:
        """Raises SealgateError as `SignedVersion.file`."""
        paths = (entry.path for entry in self.signed.manifest.files if entry.digest == digest)
        return self.signed.file(self.registry, next(paths))


@click.command(
    epilog="""
\b
Examples:
  sealgate audit replay-generator receipt.json --prompt prompt.txt --max-tokens 64
  sealgate audit replay-generator receipt.json --prompt messages.json --chat --max-tokens 64 \\
    --temperature 0.7 --top-p 0.9 --seed 4
"""
)
@click.argument("receipt", type=EXISTING_FILE)
@click.option("--prompt", required=True, type=EXISTING_FILE, help="The prompt, as it was sent.")
@click.option("--chat", is_flag=True, help="The prompt is the JSON of a chat's messages.")
@click.option(
    "--max-tokens", type=int, default=DEFAULT_TOKENS, show_default=True, help="As in the request."
)
@click.option(
    "--temperature", type=float, default=0.0, show_default=True, help="As in the request."
)
@click.option("--top-p", type=float, default=1.0, show_default=True, help="As in the request.")
@click.option("--stop", multiple=True, help="As in the request; may be repeated.")
@click.option("--seed", type=int, default=0, help="As in the request, or in the answer.")
@click.option(
    "--seconds",
    type=click.IntRange(1),
    default=600,
    show_default=True,
    help="Seconds that generating may take.",
)
@click.option("--device", default=CPU, show_default=True, help="Where to compute, such as cuda.")
@json_option
@click.pass_context
def replay_generator(
    ctx: click.Context,
    receipt: Path,
    prompt: Path,
    chat: bool,
    max_tokens: int,
    temperature: float,
    top_p: float,
    stop: tuple[str, ...],
    seed: int,
    seconds: int,
    device: str,
    as_json: bool,
) -> None:
    """Ask the language model of RECEIPT again, on this machine, and compare.

    The receipt is verified, the version's files are those that were signed, and prompt and sampling
    are what the receipt stands for. Tokens and text must be the same. If the answer was cut, the
    tokens until then are compared. An answer that was computed on a GPU is compared on the same
    kind of GPU only.
    """
    sampling = Sampling(max_tokens, temperature, top_p, stop, seed)
    asked = SamplingRequest(prompt.read_bytes(), chat, sampling)
    read = Receipt.decode(receipt.read_bytes())
    show_fields(_replayed(profile(ctx, "auditor"), read, asked, seconds, device), as_json)


def _replayed(
    person: Profile, receipt: Receipt, asked: SamplingRequest, seconds: float, device: str
) -> dict[str, Any]:
    # Torch takes seconds to import.
    import torch

    from generation.serving.replay import answer_again, check_asked, check_told, ready

    check_device("replay", device, fallback=False)
    where = select_device("replay", device, False, torch)
    with connected(person) as channel, tempfile.TemporaryDirectory() as place:
        registry = RegistryServiceStub(channel)
        policies = policy_history(person, channel)
        told = _told(receipt, policies)
        check_told(told, where)
        asked = check_asked(asked, told["input"])
        signed = SignedVersion.fetch_answering(registry, policies, told)
        with ready(signed.manifest, _Files(registry, signed), Path(place), where) as version:
            agreed = answer_again(version, asked, told, seconds, _rules(told, policies))
    shown = {name: told[name] for name in ("model", "version", "time", "outcome")}
    return {**shown, "digest": signed.manifest.digest, **asdict(agreed)}


def _rules(told: Mapping[str, str], policies: Sequence[Policy]) -> AnswerRules | None:
    """The rules for answers of the policy that judged the prompt."""
    judged_by = [policy for policy in policies if policy.digest == told["policy_digest"]]
    return judged_by[0].screen(told["model"]).answers if judged_by else None


def _told(receipt: Receipt, policies: Sequence[Policy]) -> Mapping[str, str]:
    """The opened fields of a receipt, verified by the newest policy that names its log.

    Raises: as `verify_receipt`; RECEIPT_MISMATCH if no version was asked.
    """
    told = verify_by_history(receipt, policies).fields
    if not told.keys() >= _NEEDED or not told["version"] or not told["input"]:
        raise SealgateError(
            Reason.RECEIPT_MISMATCH, "it is not of a prompt that a version was asked"
        )
    return told
