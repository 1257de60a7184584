"""The pages, each group in a module of its own."""

from console.pages import (
    audit,
    models,
    overview,
    people,
    policy_drafts,
    proposals,
    reach,
    signing,
    versions,
)

ROUTES = [
    *overview.ROUTES,
    *models.ROUTES,
    *versions.ROUTES,
    *proposals.ROUTES,
    *audit.ROUTES,
    *people.ROUTES,
    *policy_drafts.ROUTES,
    *reach.ROUTES,
    *signing.ROUTES,
]
"""Path, handler and methods of each page."""
