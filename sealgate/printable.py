"""Text that others chose, for a page, a terminal or a log: none may pass for something else."""


def printable(value: object, keep: str = "") -> str:
    """The value as text in which each character that cannot be seen is escaped, such as line ends
    and marks of direction; those of `keep` stay.
    """
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )
