"""Reference data of Kazakhstan as API bodies, and a loader that posts them to any server."""

from tracker.reference.files import Goods, read_bodies, read_goods
from tracker.reference.loader import Counts, load_reference

__all__ = ["Counts", "Goods", "load_reference", "read_bodies", "read_goods"]
