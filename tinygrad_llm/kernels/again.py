"""Large values that are cheaper to make again than to keep until backward: what a norm returns.

Chen et al. 2016, arXiv 1604.06174 (recomputation). Who made such a value registers how; who would
save it for backward saves that instead.
"""

import weakref

LARGE = 1 << 21  # numbers; smaller ones are kept, for their memory is little beside the time

_makers = {}


def can_make(value, make):
    """Register `make`, a function without arguments that returns what `value` holds now."""
    if value.size >= LARGE:
        key = id(value)
        _makers[key] = weakref.ref(value, lambda _: _makers.pop(key, None)), make


def forget(value):
    """Keep this value itself: what it is made from may be overwritten."""
    _makers.pop(id(value), None)


def saved(value):
    """A function that returns the value: the registered one, else one that keeps the value."""
    reference, make = _makers.get(id(value), (None, None))
    return make if reference is not None and reference() is value else lambda: value
