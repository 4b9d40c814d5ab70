"""The words by which the English rules tell questions apart; what is not among them makes a rule abstain."""

from __future__ import annotations

__all__ = "BE DETERMINERS MEASURES PARTICIPLE PAST PREPOSITION PRESENT UNFINISHED participle_of".split()

BE = r"(?:is|are|was|were)"
DETERMINERS = r"(?:the|a|an|its|their|his|her|our|every|each|all)"
PREPOSITION = (
    r"(?:on|in|at|under|above|below|beneath|behind|beside|between|inside|within|around|near|over|from|by|for|to|with|"
    r"into|through|across|against|among|along)"
)
_IRREGULAR = {
    "wrote": "written", "won": "won", "built": "built", "made": "made", "found": "found", "drew": "drawn",
    "began": "begun", "gave": "given", "took": "taken", "led": "led", "saw": "seen", "broke": "broken",
    "chose": "chosen", "sent": "sent", "brought": "brought", "taught": "taught", "sang": "sung", "wore": "worn",
    "stole": "stolen", "bought": "bought", "sold": "sold", "lost": "lost", "held": "held", "kept": "kept",
}  # fmt: skip
_FURTHER = (
    "known grown shown thrown blown flown torn born spoken eaten fallen hidden driven ridden frozen forgotten said "
    "told heard laid paid read spread split cast broadcast set put cut shut hit hurt spent lent bent fed met bred shot "
    "dug hung struck stuck understood spun begun drunk run woven worn meant left done"
).split()
# These end like a past form and are none.
_NO_PAST = r"(?!(?:need|speed|seed|feed|breed|red|bed|shed|hundred|embed)\b)"
PARTICIPLE = rf"(?:{'|'.join(sorted({*_IRREGULAR.values(), *_FURTHER}))}|{_NO_PAST}\w+ed)"
PAST = rf"(?:{'|'.join(_IRREGULAR)}|{_NO_PAST}\w+ed)"
PRESENT = r"(?!(?:is|was|has|does|its|this|as|various|gas|less)\b)\w{2,}(?<!s)s"
# How a thing is measured, and what is measured.
MEASURES = {
    "deep": "depth", "long": "length", "tall": "height", "high": "height", "wide": "width", "old": "age",
    "heavy": "weight", "hot": "temperature", "fast": "speed", "thick": "thickness",
}  # fmt: skip
# A question that ends so holds more than a noun phrase: `What is the wall made of?`
UNFINISHED = (
    rf"(?:{PREPOSITION}|of|as|be|been|being|do|does|did|have|has|had|like|called|named|known|doing|made|found|about|up|"
    r"out|off|down|it|they|there|\w+ed|(?<!the )(?<! a )\w+ing)"
)


def participle_of(past: str) -> str:
    """The participle of a past form, `wrote` or `founded`."""
    return _IRREGULAR.get(past, past)
