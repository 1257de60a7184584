"""Opening what the configuration names, and saying what to change where that fails."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from gateway.config.sections import AnswerStore, RegistryStore, RollbackKey
from registry.registry import Registry
from registry.state.unit_of_work import Clock
from registry.storage.artifacts import ArtifactStore, Bucket, FolderStore
from registry.uploads import OpenUploads, Spool
from sealgate.private_keys import open_log_signer, open_signer
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from sealgate.trust.keys import Signer
from sealgate.trust.policy import Policy
from sealgate.trust.transparency import current_vkey

# What SQLite says of a file that was cut short or written over.
_DAMAGED = ("disk image is malformed", "file is not a database")


@contextmanager
def opening(setting: str, place: Path | str) -> Iterator[None]:
    """Name the setting whose place cannot be used, without its password. Raises: ConfigError."""
    try:
        yield
    except SealgateError as refusal:
        if refusal.reason is not Reason.REGISTRY_UNAVAILABLE:
            raise
        raise ConfigError(
            f"{refusal.reason.name}: {setting} = {_shown(place)!r} cannot be used: "
            f"{_cause(refusal)}; {_advice(place, _cause(refusal))}"
        ) from refusal


@contextmanager
def extending(setting: str, place: Path | str, memory: Path) -> Iterator[None]:
    """Say what to do where a log is not the one that was seen last, in the file `memory`.

    Raises SealgateError(LOG_INCONSISTENT).
    """
    try:
        yield
    except SealgateError as refusal:
        if refusal.reason is Reason.INDEX_KEY_MISMATCH:
            detail = (
                f"{refusal.detail}; the database of subjects is not the one that {setting} was "
                "made with. Put it back, or `sealgate restore FOLDER --subjects FOLDER` of the "
                "newest backup. Where it is lost for good, no entry can be opened any more: "
                "`sealgate log begin NEW-ORIGIN`"
            )
            raise SealgateError(refusal.reason, detail) from refusal
        if refusal.reason is not Reason.LOG_INCONSISTENT:
            raise
        answers = "answers" in setting
        begin = (
            "`sealgate log begin NEW-ORIGIN` (another answer log)"
            if answers
            else "a new registry (docs/how-to/restore.md)"
        )
        detail = (
            f"{refusal.detail}; {setting} = {_shown(place)!r} was put back, lost or changed. Put "
            "the newest copy in its place, of SQLite with its -wal file, or `sealgate restore "
            f"FOLDER` of the newest backup. Where that is lost for good: {begin}. {memory} and the "
            "anchors say what is missing: keep them for auditors"
        )
        raise SealgateError(refusal.reason, detail) from refusal


def open_artifacts(store: RegistryStore) -> ArtifactStore:
    """Open the folder or the bucket that `[registry] artifacts` names. Raises: ConfigError."""
    return open_store("[registry] artifacts", store.artifacts, store.bucket)


def open_store(
    setting: str, place: Path | str, bucket: Callable[[str], Bucket], *, create: bool = True
) -> ArtifactStore:
    """Open a folder, or what `bucket` says that a URL names. Raises: ConfigError."""
    with opening(setting, place):
        if isinstance(place, Path):
            if not create and not place.is_dir():
                raise SealgateError(Reason.REGISTRY_UNAVAILABLE, "there is no such folder")
            return FolderStore(place, read_only=not create)
        try:
            # Only the extra `s3` brings what this needs.
            from registry.storage.artifact_bucket import BucketStore
        except ImportError as error:
            detail = "obstore is not installed: pip install 'sealgate[s3]'"
            raise SealgateError(Reason.REGISTRY_UNAVAILABLE, detail) from error
        return BucketStore(bucket(place))


def open_uploads(store: RegistryStore, registry: Registry, clock: Clock) -> OpenUploads:
    """Open the folder of `[registry] uploads`, and remove what has ended. Raises: ConfigError."""
    with opening("[registry] uploads", store.uploads):
        spool = Spool(store.uploads)
        uploads = OpenUploads(
            registry.versions, registry.artifacts, spool, clock, lambda: secrets.token_hex(16)
        )
        uploads.sweep()
    return uploads


def begin(registry: Registry, policy: bytes) -> None:
    """Begin a registry with its first policy, unless another gateway is faster."""
    try:
        registry.policies.accept("init", policy)
    except SealgateError:
        if not registry.log.size():
            raise


def open_rollback_key(policy: Policy, settings: RollbackKey) -> Signer | None:
    """Open the key of `[rollback]`, if there is one, and check that it can do nothing else.

    Raises: ConfigError, SealgateError where the key cannot be opened.
    """
    if not settings.key:
        return None
    signer = open_signer(settings.key)
    holder = policy.holder(signer.public.keyid)
    if holder is None or holder.roles != ("rollback",):
        raise ConfigError(
            f"[rollback] key = {str(settings.key)!r} must be the key of a principal of the policy "
            f"whose only role is rollback; its id is {signer.public.keyid}"
        )
    return signer


def open_log_key(section: RegistryStore | AnswerStore) -> Signer:
    """The key that signs the log of a section, with the one that follows."""
    return open_log_signer(section.log_key, section.ml_dsa_key, section.next_log_key)


def check_certified(policy: Policy, store: AnswerStore, line: str) -> None:
    """Check that the policy names this gateway's answer log with the verifier key `line`: nobody
    would believe its receipts.

    Raises: ConfigError, with the line that the policy lacks.
    """
    lines = line.split("\n")
    known = policy.is_answer_log(store.origin)
    if not known or current_vkey(policy.log_key(store.origin)) not in lines:
        raise ConfigError(
            f"[answers] origin = {store.origin!r} with this log_key is no answer log of the "
            f"policy; add {lines[0]!r} to its logs.answers (`sealgate policy draft`), or use the "
            "origin and key of one that it names and that no other gateway uses"
        )


def _shown(place: Path | str) -> str:
    if isinstance(place, Path):
        return str(place)
    try:
        return make_url(place).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        # It may hold a password all the same.
        return "…"


def _cause(refusal: SealgateError) -> str:
    """The driver's own words, which name no password: the first line says it."""
    original = getattr(refusal.__cause__, "orig", None)
    return str(original or refusal.detail).strip().partition("\n")[0]


def _advice(place: Path | str, cause: str) -> str:
    if str(place).startswith("postgres"):
        return (
            "the form is postgresql://user@host:5432/database; the password may stand in "
            "~/.pgpass or PGPASSWORD, and the user must own a schema or may create one"
        )
    if str(place).startswith("s3:"):
        return (
            "check artifacts_endpoint and artifacts_region, and that the environment has "
            "credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role's)"
        )
    if any(words in cause for words in _DAMAGED):
        return "it is damaged: put the newest copy in its place, or `sealgate restore FOLDER`"
    return "check that the folder exists and that this user may write there"
