"""The task of a prompt, put together from parts, each of which keeps its share of the room."""

from collections.abc import Sequence

# What a model reads where something is missing: half a function is not to be taken for a whole one.
CUT = "[... cut here]"
LEFT_OUT = "[... more parts are left out]"

BETWEEN = "\n\n"  # between parts: a blank line
SMALLEST_PART = 200  # characters; of less than two lines of a part nobody learns what it was about


def task_text(task: str | Sequence[str], limit: int) -> str:
    """Join the parts of a task by blank lines, in at most `limit` characters.

    Where they are longer together, the longest are cut, to one length: no part loses anything to a longer one. Of very
    many, the last ones go.
    """
    parts = [part for text in ([task] if isinstance(task, str) else task) if (part := text.strip())]
    if len(BETWEEN.join(parts)) <= limit:
        return BETWEEN.join(parts)
    most = max(1, limit // (SMALLEST_PART + len(BETWEEN)))
    if len(parts) > most:
        parts = [*parts[: most - 1], LEFT_OUT]
    share = _share([len(part) for part in parts], limit - len(BETWEEN) * (len(parts) - 1))
    return BETWEEN.join(shorten(part, share) for part in parts)


def shorten(text: str, length: int) -> str:
    """Cut `text` to at most `length` characters, at the end of a line or else of a word, and say that it was cut."""
    if len(text) <= length:
        return text
    room = length - len(CUT) - 1
    if room <= 0:
        return text[:length]
    head = text[: room + 1]
    ends = (head.rfind("\n"), head.rfind(" "), room)
    end = next(end for end in ends if end >= room // 2)
    return f"{head[:end].rstrip()}\n{CUT}"


def _share(lengths: Sequence[int], room: int) -> int:
    """Give the length to which all are cut so that they fill `room`: long ones get what short ones leave."""
    share = room
    for index, length in enumerate(sorted(lengths)):
        share = room // (len(lengths) - index)
        if length > share:
            break
        room -= length
    return share
