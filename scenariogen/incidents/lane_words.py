"""How many lanes are closed, from words and codes: ``2 Left Lanes Closed``, ``CrashLshoulder``, ``some-lanes-closed``.

A number that is said is certain. "Some lanes" says only that it is at least one: it becomes a distribution in which
each further lane is half as likely as the one before, short of all of them where their number is known. "Lanes" in the
plural starts at two. That is an assumption of this program (:data:`SOME_LANES_SAID` states it in every account), since
feeds hardly ever say how many: of 411 work zones in one Californian feed one did.
"""

import re
from dataclasses import dataclass

MOST_UNKNOWN = 3
"""Where the number of lanes is unknown, "some lanes" reaches this far."""
SOME_LANES_SAID = (
    "where only 'some lanes' is said: 1, 2, ... lanes, each half as likely as the one before, fewer than all lanes "
    f"where their number is known and at most {MOST_UNKNOWN} where not (an assumption)"
)
MOST_LANES = 12
ALTERNATING = (0.5, 0.5)
"""One lane serves both directions in turn: the lane of either is the one that is closed."""

_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "single": 1, "double": 2, "both": 2}
_SIDE = {"left": "left", "right": "right", "center": "centre", "centre": "centre", "middle": "centre"}
_NUMBER = rf"\d{{1,2}}|{'|'.join(_NUMBERS)}"
_WHICH = "|".join((*_SIDE, "hov"))
_BOUND = "(?:north|south|east|west)(?:bound)?|[nsew]b"
_SORT = rf"{_WHICH}|{_BOUND}|through|thru|travel|driving|traffic|express|general|purpose|main|mainline|outside|inside"
_IS = r"(?:of traffic )?(?:are |is |have been |has been |currently |remains? )*"
_SHUT = r"(?:closed|closures?|blocked|blockages?|affected|restricted|restrictions?|obstructed|shut|impacted)"
_NOT_SHUT = re.compile(r"\b(?:open|reopen\w*|no lanes?|shift\w*|narrow\w*|must exit|traffic on)\b")
_NOT_BEFORE = (
    r"(?<!exit )(?<!mile )(?<!milepost )(?<!marker )(?<!route )(?<!highway )(?<!hwy )(?<!\bto )(?<!\bmm )(?<!\bi )"
)
_COUNT = re.compile(rf"{_NOT_BEFORE}(?<![\d.])\b({_NUMBER}) (?:(?:{_SORT}|and|&) )*(lanes?)\b")
_TOTAL = re.compile(rf"\b(?:out of (?:the )?|of )({_NUMBER})\b")
_TOTAL_FIRST = re.compile(rf"\bout of (?:the )?({_NUMBER}) lanes,? ({_NUMBER})\b(?! lanes?)")
_TOTAL_AGAIN = re.compile(rf"\b(lanes?,?) (?:out )?of (?:the )?(?:{_NUMBER}) lanes?\b")
_LEFT_OPEN = re.compile(rf"\b(?:all |the )*(?:(?:{_NUMBER}|other|remaining) )?(?:(?:{_SORT}) )*lanes? {_IS}open\b")
_ALL = re.compile(
    rf"\b(all|both)(?: (?:the|{_BOUND}|through|thru|travel|driving|traffic|main|mainline)){{0,2}} lanes?\b"
)
_LISTED = re.compile(rf"\b({_WHICH})\b(?=(?:,? ?(?:and |& |/ ?)?(?:{_WHICH})\b)* (lanes?)\b)")
_NUMBERED = re.compile(
    r"\blanes? ?#?(\d{1,2})(?: ?(-|to|thru|through) ?#?(\d{1,2})|((?: ?(?:,|&|and|/) ?#?\d{1,2})+))?\b"
    r"(?! ?(?:hours?|hrs?|min|miles?|km)\b)"
)
_NUMBERED_OPEN = re.compile(_NUMBERED.pattern + rf" {_IS}open\b")
_SHORT = (
    (re.compile(r"\blns\b"), "lanes"),
    (re.compile(r"\bln\b(?= ?#?\d)"), "lane"),
    (re.compile(r"\b(left|right|lt|rt|center|middle|hov|\d) ln\b"), r"\1 lane"),
    (re.compile(r"\blt (?=lanes?\b)"), "left "),
    (re.compile(r"\brt (?=lanes?\b)"), "right "),
    (re.compile(r"\bblkd\b"), "blocked"),
    (re.compile(r"\bclsd\b"), "closed"),
)
_CODE_LANE = re.compile(r"(?:^|[a-z\d ])(multi|left|right|center|middle|hov|[lrcm])[ _-]?lane(s?)\b", re.I)
_CODE_SHOULDER = re.compile(r"(?:^|[a-z\d ])(left|right|[lr])[ _-]?shoulder", re.I)
_CODE_SIDE = {"l": "left", "r": "right", "c": "centre", "m": "centre", "hov": "left", **_SIDE}


@dataclass(frozen=True, kw_only=True)
class Lanes:
    """What words say about lanes, as in the columns of the same names."""

    closed: tuple[float, ...] | None = None
    side: str = ""
    shoulder_only: bool = False
    full_closure: bool = False


NOTHING_SAID = Lanes()


def certain(count: int) -> tuple[float, ...]:
    """The distribution of a number that is known.

    >>> certain(2)
    (0.0, 0.0, 1.0)
    """
    return (*([0.0] * count), 1.0)


def some(*, least: int = 1, total: int | None = None) -> tuple[float, ...]:
    """At least ``least`` lanes: halving with every further one, see the head of this module.

    >>> some(total=3)
    (0.0, 0.6666666666666666, 0.3333333333333333)
    """
    most = max(least, total - 1 if total is not None else MOST_UNKNOWN)
    weights = [0.5**step for step in range(most - least + 1)]
    return (*([0.0] * least), *(weight / sum(weights) for weight in weights))


def all_lanes(total: int | None) -> Lanes:
    """Every lane is closed; how many that are is known only where the total is."""
    return Lanes(closed=certain(total) if total is not None else None, full_closure=True)


def known_count(closed: tuple[float, ...] | list[float] | None) -> int | None:
    """The number of closed lanes where the distribution leaves no doubt, else None."""
    if not closed:
        return None
    best = max(range(len(closed)), key=lambda count: closed[count])
    return best if closed[best] >= 1 - 1e-6 else None


def lanes_from_words(text: str, *, total: int | None = None, all_is_closed: bool = False) -> Lanes:
    """Lanes from a phrase about them. Ramps and shoulders take no lane of the road itself.

    ``all_is_closed``  the phrase is about nothing else than lanes that are closed, and need not say so

    >>> lanes_from_words("2 Left Lanes Closed")
    Lanes(closed=(0.0, 0.0, 1.0), side='left', shoulder_only=False, full_closure=False)
    >>> lanes_from_words("1 of 3 lanes closed").closed, lanes_from_words("1 lane closed - 2 lanes open").closed
    ((0.0, 1.0), (0.0, 1.0))
    """
    words = " ".join(text.lower().split())
    for short, long in _SHORT:
        words = short.sub(long, words)
    if not words or words == "no data":
        return NOTHING_SAID
    words = _TOTAL_FIRST.sub(r"\2 lanes of \1", words)
    said = _TOTAL.search(words)
    if said is not None:
        total = _number(said[1]) if total is None else total
        words = _TOTAL_AGAIN.sub(r"\1", words)
        words = " ".join(_TOTAL.sub(" ", words).split())
    words = _NUMBERED_OPEN.sub("", words)
    numbered = _numbered(words)
    all_is_closed = all_is_closed and _NOT_SHUT.search(words) is None
    words = " ".join(words.replace("-", " ").split())
    if re.search(rf"\b(all lanes? {_IS}open|no lanes? {_IS}{_SHUT})\b", words):
        return Lanes(closed=certain(0))
    words = _LEFT_OPEN.sub("", words)
    sides = {side for word, side in _SIDE.items() if re.search(rf"\b{word}\b", words)}
    side = sides.pop() if len(sides) == 1 else ""
    every = _ALL.search(words)
    is_said = all_is_closed or re.search(rf"\b{_SHUT}\b", words) is not None
    if every is not None and (all_is_closed or re.match(rf" {_IS}{_SHUT}\b", words[every.end() :])):
        if every[1] == "all":
            return all_lanes(total)
        return Lanes(closed=certain(2), full_closure=total in (None, 2))
    if re.search(r"\b(road|roadway|highway|freeway)( is)? closed\b", words) or "full closure" in words:
        return all_lanes(total)
    has_lane = re.search(r"\blanes?\b", words) is not None
    if not has_lane and "shoulder" in words:
        return Lanes(closed=certain(0), side=side, shoulder_only=True)
    if not has_lane and re.search(r"\b(ramps?|exit|off ramp|on ramp)\b", words):
        return Lanes(closed=certain(0))
    if not has_lane or not (is_said or (numbered and said is not None)):
        return NOTHING_SAID
    closed = certain(numbered) if numbered else _count(words, total)
    return Lanes(
        closed=closed,
        side=side or ("left" if re.search(r"\bhov\b", words) else ""),
        full_closure=total is not None and known_count(closed) == total,
    )


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _NUMBERS[word]


def _numbered(words: str) -> int:
    """How many lanes are named by their numbers, as in ``lanes 1-2`` or ``lane 3``; 0 where none is."""
    found = _NUMBERED.search(words)
    if found is None:
        return 0
    first, _, last, others = found.groups()
    count = int(last) - int(first) + 1 if last else 1 + len(re.findall(r"\d+", others or ""))
    return count if 1 <= count <= MOST_LANES else 0


def _count(words: str, total: int | None) -> tuple[float, ...]:
    numbers = [
        _number(found)
        for found, noun in _COUNT.findall(words)
        if noun == "lanes" or _number(found) == 1 or found == "double"
    ]
    if numbers and sum(numbers) <= MOST_LANES:
        return certain(sum(numbers))
    if re.search(r"\ball hov lanes?\b", words):
        return some(total=total)
    listed = {_SIDE.get(which, which) for which, _ in _LISTED.findall(words)}
    if len(listed) > 1:
        return certain(len(listed))
    return some(least=2, total=total) if re.search(r"\blanes\b", words) else certain(1)


def lanes_from_code(code: str, *, total: int | None = None) -> Lanes:
    """Lanes from the category words of event logs, in which a side is often one letter before ``lane``.

    >>> lanes_from_code("crashRlane").side, lanes_from_code("C34Lshoulder").shoulder_only
    ('right', True)
    """
    shoulder = _CODE_SHOULDER.search(code)
    if shoulder or re.search(r"shoulders?[ _-]?closed", code, re.I):
        return Lanes(closed=certain(0), side=_CODE_SIDE[shoulder[1].lower()] if shoulder else "", shoulder_only=True)
    lane = _CODE_LANE.search(code)
    if lane:
        side = _CODE_SIDE.get(lane[1].lower(), "")
        many = bool(lane[2]) or lane[1].lower() == "multi"
        return Lanes(closed=some(least=2, total=total) if many else certain(1), side=side)
    if re.search(r"(free|high|road)[ _-]?(way)?[ _-]?closed", code, re.I):
        return all_lanes(total)
    if re.search(r"(ramp|exit|median|frontage)", code, re.I):
        return Lanes(closed=certain(0))
    if re.search(r"hov", code, re.I):
        return Lanes(closed=certain(1), side="left")
    return NOTHING_SAID
