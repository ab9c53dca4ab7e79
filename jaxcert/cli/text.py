"""Words for people."""


def amount(count: int, noun: str) -> str:
    """The number with its noun, in the plural where needed.

    >>> amount(1, "image"), amount(3, "image")
    ('1 image', '3 images')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float) -> str:
    """Seconds as minutes and seconds.

    >>> duration(75.2)
    '1 min 15 s'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
