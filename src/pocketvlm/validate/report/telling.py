"""The verdict's figures in words, for people who do not train models. Nothing is measured here."""

from collections.abc import Mapping, Sequence

from pocketvlm.pages import percent
from pocketvlm.workspace import Row

CHANCE = 0.05
"""McNemar's p below which a change is called more than chance."""

GATES = {
    "accuracy": "Accuracy, by its interval's lower bound",
    "worst_recall": "Pictures found of its worst label",
    "one_word": "Answers of one word that end by themselves",
    "agreement": "Same answer as the trained model in torch",
    "mib": "Size of both files",
    "ms": "Time a picture, on this machine",
}

UNITS = {"mib": "MiB", "ms": "ms"}

WAYS = {
    "greedy": (
        "free answer",
        "The app lets the model write and reads the word. Simplest; now and then the word is no "
        "label, which the app has to bear.",
    ),
    "likelihood": (
        "likeliest label",
        "The app asks how likely each label is and takes the likeliest. Always a label, with a "
        "confidence, so that the app can say “not sure”.",
    ),
    "grammar": (
        "held to the labels",
        "The model writes, but only what leads to a label (labels.gbnf). Always a label; no "
        "confidence.",
    ),
}

SLICES = {
    "source": "By where the label comes from",
    "confidence": "By how sure the teacher was",
    "reviewed": "By whether a person looked at the label",
}

DROPS = {
    "torch adapter": "training made the base worse: look at the training curves and the labels",
    "torch merged": "the merge changed the student: look at the audit below",
    "llama.cpp": "the conversion changed the student: look at the audit below",
    "type": "do not ship it",
}


def points(share: float) -> str:
    """A share as percentage points."""
    return f"{share * 100:.1f}"


def signed(share: float) -> str:
    """The same with its sign; no minus before a zero."""
    return f"{share * 100:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0")


def number(value: float) -> str:
    """A figure with a digit behind the point where it is below a hundred, thousands apart."""
    return f"{value:,.1f}".removesuffix(".0") if value < 100 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def chance(p: float) -> str:
    """McNemar's p in plain words."""
    told = "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
    if p < CHANCE:
        return f"more than chance explains ({told})"
    return f"chance alone could do it ({told})"


def changed(change: Row) -> str:
    """How many pictures a step won and lost, and whether that is more than chance."""
    if not change["gained"] + change["lost"]:
        return "right on the same pictures"
    return f"{change['gained']} won, {change['lost']} lost: {chance(change['p'])}"


def gate_rows(gates: Mapping[str, Row]) -> list[Row]:
    """Every gate as the page shows it; gates of an older form are left out."""
    return [
        {
            "words": GATES.get(name, name),
            "wanted": f"at {gate['bound']} {amount(name, gate['wanted'])}",
            "found": amount(name, gate["found"]),
            "passed": gate["passed"],
            "by": margin(name, gate),
        }
        for name, gate in gates.items()
        if "wanted" in gate
    ]


def amount(name: str, value: float) -> str:
    """A gate's figure in its unit."""
    return f"{number(value)} {UNITS[name]}" if name in UNITS else percent(value)


def margin(name: str, gate: Row) -> str:
    """By how much a gate is passed or missed."""
    by = abs(gate["by"])
    much = f"{number(by)} {UNITS[name]}" if name in UNITS else f"{points(by)} points"
    if gate["passed"]:
        return f"{much} to spare" if by else "just reached"
    return f"missed by {much}"


def gates_sentence(rows: Sequence[Row]) -> str:
    """How many gates are passed, for the chip."""
    missed, of = sum(not row["passed"] for row in rows), len(rows)
    if of == 1:
        return "Gate missed" if missed else "Gate passed"
    return f"{missed} of {of} gates missed" if missed else f"All {of} gates passed"


def worst_drop(ladder: Sequence[Row]) -> tuple[Row, str] | None:
    """The step that loses most, by more than chance explains, and what to do about it."""
    changes = [(rung, rung["change"]) for rung in ladder if rung["change"]]
    sure = [rung for rung, of in changes if of["p"] < CHANCE and of["difference"] < 0]
    if not sure:
        return None
    rung = min(sure, key=lambda rung: float(rung["change"]["difference"]))
    torch_before = str(rung["before"]).startswith("torch")
    kind = rung["step"] if rung["type"] is None else "llama.cpp" if torch_before else "type"
    return rung, DROPS.get(kind, "look at this step first")


def outcome(value: object) -> str:
    """A control's figure: shares are floats between 0 and 1, counts are whole."""
    if value is None:
        return "–"  # noqa: RUF001
    if isinstance(value, float) and 0 <= value <= 1:
        return percent(value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)
