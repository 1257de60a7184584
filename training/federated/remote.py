"""A federation whose clients are on other machines: `sealgate federate server`.

1. The server gets a certificate: one that was given, or one of an authority made for this run.
2. For each client of the recipe an invitation is written to OUT/run/invitations, with a one-time
   token; the server process knows the tokens' digests alone.
3. Clients enrol (`training.federated.enrolment`) until all have, or the tokens expire. Rounds need
   three groups of them.
4. The account of the run names each client's key, with its signature over what it agreed to. The
   privacy that a recipe spent is stated for a client of the fewest rows that the recipe allows,
   which spends most, and never more than the budget, at which each client stops by itself.

The recipe's rows are the server's own: fit, calibration and test. Its train slice is not used.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from torch import nn

from sealgate.reasons import Reason, SealgateError
from sealgate.setup.credentials import Certificate, CertificateAuthority
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import write_private_file
from training.data import RunData
from training.federated.enrolment import (
    EnrolledClient,
    FederationInvitation,
    RowShape,
    digest_of,
    new_token,
)
from training.federated.federation import STARTING, Federation
from training.federated.http_requests import ENROLLED, ENTRY, EntryTerms
from training.federated.launch import NODES, SERVER, Processes, ProcessFolders
from training.federated.participant import private_step, weights_of
from training.run import sources
from training.steps.privacy import spent
from training.steps.progress import Tell

# The authority of a run, and its certificate.
_LIFETIME = timedelta(days=30)
_PARTING = 30.0
_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """Where a server listens, `host` and `port`, and `address`, host:port, where clients reach it;
    for how long invitations are good; and `own`, its certificate and the authority (PEM) that
    vouches for it, if not one of the run's.
    """

    host: str
    port: int
    address: str
    good_for: timedelta
    own: tuple[Certificate, bytes] | None = None


class RemoteFederation(Federation):
    """As `Federation`, with clients that enrol at `place`."""

    def __init__(
        self,
        path: Path,
        out: Path,
        tell: Tell,
        place: ServerPlace,
        server: Sequence[str] = SERVER,
    ) -> None:
        """Raises RECIPE_INVALID."""
        super().__init__(path, out, tell, NODES, server)
        self._place = place
        self._until = datetime.now(UTC)
        self._authority = b""

    def material(self) -> RunData:
        """Raises TRAINING_DATA, FILE_MISSING."""
        asked = self._asked.data
        return RunData.cut(sources.read_rows(asked, None), asked, untrained=True)

    def _lay_out(self, folders: ProcessFolders, student: nn.Module, material: RunData) -> None:
        self._bound(self._asked.federated.rounds)
        recipe, place = self._path.read_bytes(), self._place
        # 1.
        own, self._authority = place.own or self._new_certificate()
        folders.lay_out_server(recipe, weights_of(student), own)
        # 2.
        self._until = datetime.now(UTC) + place.good_for
        tokens = [new_token() for _ in range(self._asked.federated.clients)]
        terms = EntryTerms(
            place.host,
            place.port,
            tuple(map(digest_of, tokens)),
            self._until,
            sha256(recipe),
            sha256(self._authority),
        )
        terms.write(folders.server / ENTRY)
        read = material.read
        domain = float(read.domain.min), float(read.domain.max)
        rows = RowShape(read.x.shape[1:], len(read.names), *domain)
        invitations = folders.run / "invitations"
        invitations.mkdir(mode=0o700)
        for at, token in enumerate(tokens):
            invitation = FederationInvitation(
                place.address, self._authority.decode(), token, recipe.decode(), rows, self._until
            )
            write_private_file(invitations / f"client-{at:03d}.json", invitation.encode())

    def _new_certificate(self) -> tuple[Certificate, bytes]:
        authority = CertificateAuthority("sealgate federate", datetime.now(UTC), _LIFETIME)
        host = self._place.address.rpartition(":")[0].strip("[]")
        return authority.server("server", (host,)), authority.pem

    def _gather(self, started: Processes, folders: ProcessFolders) -> None:
        # 3.
        self._tell("listening", started.address(STARTING))
        self._tell("invitations", f"{folders.run / 'invitations'}, until {self._until:%c} UTC")
        known, clients = 0, self._asked.federated.clients
        while known < clients and datetime.now(UTC) < self._until:
            started.look()
            for at, row in enumerate(_enrolled(folders)[known:], known + 1):
                self._tell("enrolled", f"{at} of {clients}, from {row['address']}")
                known = at
            time.sleep(_PAUSE)

    def _part(self, started: Processes) -> None:
        started.wait_for_end(_PARTING)

    def _evidence(self, folders: ProcessFolders) -> Mapping[str, Any]:
        # 4.
        rows = _enrolled(folders)
        clients = [EnrolledClient(row["key"], row["token"], row["signature"]) for row in rows]
        return {
            "participants": [client.encode() for client in clients],
            "server": sha256(self._authority),
        }

    def _spent(
        self, folders: ProcessFolders, told: Sequence[Mapping[str, Any]]
    ) -> Mapping[str, Any] | None:
        return self._bound(sum(each["tries"] for each in told))

    def _bound(self, tries: int) -> Mapping[str, Any] | None:
        """The most that a client spends in so many rounds. Raises RECIPE_INVALID where that many
        rounds of the recipe are too many.
        """
        step, asked = private_step(self._asked), self._asked.federated
        if step is None:
            return None
        for number in range(tries, asked.rounds - 1, -1):
            found = spent(step, asked.rows, number)
            if found.epsilon <= step.epsilon:
                return found.encode()
        detail = (
            f"{asked.rounds} rounds spend more than epsilon {step.epsilon:g} on {asked.rows} rows"
        )
        raise SealgateError(Reason.RECIPE_INVALID, f"{detail}; see [federated] rows")


def _enrolled(folders: ProcessFolders) -> list[dict[str, str]]:
    place = folders.server / ENROLLED
    return list(json.loads(place.read_bytes())) if place.exists() else []
