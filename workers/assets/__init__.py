"""Licensed files of users: converted once, kept by hash, fetched by those who render."""

from workers.assets.registry import AssetRegistry, open_assets

__all__ = ["AssetRegistry", "open_assets"]
