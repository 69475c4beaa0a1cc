"""Multi-query attention: all query heads share one key and value head (Shazeer 2019, section 3).

K and V have no axis of heads. The listing in the source leaves the scores unscaled; `scaled=True`
divides them by sqrt(key_dim), as users of it do.
"""

from attnverify.notation import Choice, Spec, attention, family, multi_query


def build(scaled: bool) -> Spec:
    """Multi-query attention, scaled or as listed."""
    return attention("multi_query", heads=multi_query(), scale=None if scaled else 1)


spec = family(build, scaled=Choice(True, False))
