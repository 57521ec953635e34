"""How the cache that counts says that it is away, whatever it is made of."""


class CacheAwayError(Exception):
    """The cache failed."""


class CacheSparedError(CacheAwayError):
    """It failed a moment ago and was not asked."""
