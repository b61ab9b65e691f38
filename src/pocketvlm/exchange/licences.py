"""The pictures' licences: what a card says, and what may be shared."""

import re
from collections import Counter
from collections.abc import Iterable

from pocketvlm.workspace import Row

UNKNOWN = "unknown"

HUB_IDS = {
    *("apache-2.0", "cc0-1.0", "mit", "odbl", "pddl"),
    *("cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0"),
    *("cc-by-sa-3.0", "cc-by-sa-4.0"),
    *("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0"),
    *("cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"),
    *("cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
}
"""Those that the Hub knows and pictures have
(https://huggingface.co/docs/hub/repositories-licenses); all others are `other` there."""

NAMELESS = ("", "other", "none", "n a", "na", "mixed", "see source")
"""What says nothing of what is allowed."""

FORBIDDEN = (UNKNOWN, "unsplash", "pixabay", "all rights reserved", "proprietary", "copyright")
"""Words of licences that do not allow pictures to be passed on as such.

Unsplash: no compiling of its photographs, and their use for machine learning is restricted
(https://help.unsplash.com/en/articles/2612332). Pixabay: not on a standalone basis, which
resized pictures remain (https://pixabay.com/service/terms/)."""


def licences(rows: Iterable[Row]) -> Counter[str]:
    """Pictures by licence; `unknown` where a line does not say."""
    return Counter(str(row.get("licence") or UNKNOWN) for row in rows)


def may_be_shared(licence: str) -> bool:
    """Whether a licence is known and does not forbid it."""
    plain = re.sub(r"[\W_]+", " ", licence.lower()).strip()
    return plain not in NAMELESS and not any(word in plain for word in FORBIDDEN)


def front_matter(found: Counter[str]) -> Row:
    """The card's `license`: the pictures' one if the Hub knows it, else `other`."""
    if len(found) == 1:
        (name,) = found
        if name.lower() in HUB_IDS:
            return {"license": name.lower()}
        return (
            {"license": "unknown"}
            if name == UNKNOWN
            else {
                "license": "other",
                "license_name": "-".join(name.lower().split()),
            }
        )
    return {"license": "other", "license_name": "mixed"}
