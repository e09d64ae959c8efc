"""Two hospitals of the phantoms as sites."""

SITES = dict(one=['phantom_a'], two=['phantom_b'])
