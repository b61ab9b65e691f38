"""A simulated teacher for measuring the client: fast, as limited and as faulty as wanted, and with
accounts of every picture, so that what was paid twice shows.

    with serve(Settings(seconds=2.0, limit="bucket", requests_per_minute=500)) as (url, stats):
        ...  # base_url: url
        print(stats()["total"])
"""

from simulated.answers import Settings
from simulated.server import Stats, serve

__all__ = ["Settings", "Stats", "serve"]
