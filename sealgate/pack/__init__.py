"""The auditor's pack: a folder with logs and documents that other people's programs can check."""

from sealgate.pack.export import Pack, export_pack, log_folder
from sealgate.pack.tile_folder import TileFolder

__all__ = [
    "Pack",
    "TileFolder",
    "export_pack",
    "log_folder",
]
