"""What another library's exception says, short enough for the middle of a sentence."""


def reason(error: BaseException) -> str:
    r"""Return the first sentence of `error`, without its full stop, after the name of its type.

    >>> reason(ValueError("The file is bad. Try this.\nAnd that."))
    'ValueError: The file is bad'
    """
    name, text = type(error).__name__, str(error).strip()
    if not text:
        return name
    return f"{name}: {text.splitlines()[0].split('. ')[0].rstrip('.')}"
