"""Observes answers: keeps features, and feeds drift detection and callers' sessions."""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from gateway.outcomes import ColumnWatch
from gateway.screening import DriftWatch, FeatureKeeper
from gateway.sessions import FlaggedSessions, SessionFinding, SessionWatch
from inference.engine import InferenceResult, LiveVersion
from sealgate.trust.policy import Policy
from sealgate.trust.receipts.answer_entry import ANCHOR


class Observation:
    """Shows each answer to whatever watches over many of them. Safe for many threads.

    `session_actions` counts what followed from callers' sessions, by model and action; `flagged`
    has these sessions.
    """

    def __init__(
        self,
        sessions: SessionWatch,
        drift: DriftWatch,
        features: FeatureKeeper,
        columns: ColumnWatch | None = None,
    ) -> None:
        self._sessions = sessions
        self._drift = drift
        self._features = features
        self._columns = columns
        self._mutex = threading.Lock()
        self.flagged = FlaggedSessions()
        self.session_actions: Counter[tuple[str, str]] = Counter()

    def prints(
        self, policy: Policy, live: LiveVersion, arrays: Sequence[npt.NDArray[Any]]
    ) -> list[list[bytes] | None]:
        """The fingerprints of each request's rows, for `session` by the same policy."""
        return self._sessions.prints(policy.screen(live.model).sessions, live, arrays)

    def session(
        self,
        policy: Policy,
        caller: str,
        live: LiveVersion,
        requests: Sequence[tuple[list[bytes] | None, InferenceResult]],
        withheld: Sequence[bool],
    ) -> SessionFinding:
        """The policy's consequences for the session of a caller that sent these requests in one
        burst; `withheld` says which of them are refused for their verdict.
        """
        rows = sum(len(answer.features) for _, answer in requests)
        graph = sum(answer.graph_rows for _, answer in requests)
        if live.ready.detector.screens:
            live.statistics.screened(rows - graph, graph)
        rules = policy.screen(live.model).sessions
        holds = not self._drift.withdrawn(live.digest)
        found = self._sessions.observe(rules, caller, live, requests, holds, withheld)
        anchored = sum(each is not None for each in found.anchors)
        with self._mutex:
            if found.action is not None:
                self.session_actions[live.model, found.action] += len(requests)
            if anchored:
                self.session_actions[live.model, ANCHOR] += anchored
        if found.action is not None and rules is not None:
            self.flagged.add(caller, live.model, found.action, rules.seconds)
        return found

    def settle(
        self, live: LiveVersion, answers: Sequence[InferenceResult], callers: Sequence[str]
    ) -> None:
        """Observe drift in answers of one version, each with its caller; no answer waits for that.
        An attacker's rows are no evidence of how others have changed, so they are not among them.
        """
        if live.ready.detector.screens:
            self._drift.observe_all(live, answers, callers)

    def answered(self, live: LiveVersion, arrays: Sequence[npt.NDArray[Any]]) -> None:
        """Take the rows of requests whose answers left."""
        if self._columns is not None:
            self._columns.observe(live, arrays)

    def keep(self, live: LiveVersion, answer: InferenceResult) -> None:
        """Keep an answer's features, where the gateway is set to."""
        if live.ready.detector.screens:
            self._features.keep(live.digest, answer.features)
