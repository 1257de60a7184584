"""The pages, each group in a module of its own."""

from console.pages import audit, models, overview, people, proposals, reach, signing

ROUTES = [
    *overview.ROUTES,
    *models.ROUTES,
    *proposals.ROUTES,
    *audit.ROUTES,
    *people.ROUTES,
    *reach.ROUTES,
    *signing.ROUTES,
]
"""Path, handler and methods of each page."""
