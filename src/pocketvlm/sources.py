"""The section `collect`: where pictures come from, and what is taken."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from pocketvlm.keys import Address, KeyName
from pocketvlm.sections import Section

Wanted = dict[str, Annotated[tuple[str, ...], Field(min_length=1)]]
"""Label of the task -> what is searched for to find candidates of it. It never becomes a label:
what a picture shows, the teacher says."""


class Coco(Section):
    """Pictures of a COCO data set, chosen by their categories."""

    annotations: str = Field(
        "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
        description="instances_*.json, or a zip that holds some: a file or an address.",
    )
    categories: Wanted = Field(
        min_length=1,
        description="Label -> categories in which candidates are sought: water: [boat, surfboard].",
    )
    pictures: int = Field(500, ge=1, description="How many, balanced over the labels.")


class Unsplash(Section):
    """Photographs of Unsplash through its official API."""

    base_url: Address = Field("https://api.unsplash.com", description="The API.")
    api_key_env: KeyName = Field(
        "UNSPLASH_ACCESS_KEY",
        description="Name of the environment variable (or line of .env) that holds the key.",
    )
    queries: Wanted = Field(
        min_length=1,
        description="Label -> what is searched for to find candidates: fire: [campfire, lava].",
    )
    pictures: int = Field(500, ge=1, description="How many, balanced over the labels.")
    width: int = Field(1024, ge=64, description="Width that is downloaded, pixels.")


class Hub(Section):
    """A data set on the Hugging Face Hub, or local parquet files or class folders."""

    dataset: str = Field(min_length=1, description="Hub id, or a local folder or file.")
    config: str | None = Field(None, description="Its configuration (subset), if it has several.")
    split: str = Field("train", description="Which split is read.")
    revision: str = Field("main", description="Branch, tag or commit.")
    column: str = Field("image", description="The column that holds the picture.")
    pictures: int = Field(500, ge=1, description="How many; streamed, so no more is downloaded.")
    wanted: Wanted = Field(
        default_factory=dict,
        description="Label -> values of `by` in which candidates are sought; empty: as they come.",
    )
    by: str = Field("label", description="The column that `wanted` looks at.")
    licence: str = Field("unknown", description="Recorded for its pictures, unless its card says.")


class Collect(Section):
    """Where pictures come from. Every source that is named is used."""

    folder: Path = Field(
        Path("pictures"),
        description="Folder searched recursively; relative to this file. It may be missing where\n"
        "another source is named.",
    )
    licence: str = Field("unknown", description="Licence recorded for every picture of the folder.")
    coco: Coco | None = Field(
        None, description="{categories: {water: [boat], wood: [bench]}, pictures: 500}"
    )
    unsplash: Unsplash | None = Field(
        None,
        description="{queries: {water: [ocean, rain], fire: [campfire]}, pictures: 500}; needs an\n"
        "access key.",
    )
    hub: Hub | None = Field(
        None, description="{dataset: user/name, column: image, pictures: 500}; streamed."
    )
    aim: int | None = Field(
        None,
        ge=1,
        description="Usable labels of each kind that `collect --top-up` works towards.",
    )
    min_side: int = Field(32, ge=1, description="Smaller pictures are skipped, pixels.")
    max_megapixels: float = Field(
        100.0, gt=0, le=178, description="Larger pictures are skipped as decompression bombs."
    )

    def searched(self) -> dict[str, tuple[Wanted, int]]:
        """What each source that is named is searched for and how many pictures of it are wanted, in
        the order in which they are asked."""
        found: dict[str, tuple[Wanted, int]] = {}
        if self.coco:
            found["coco"] = self.coco.categories, self.coco.pictures
        if self.unsplash:
            found["unsplash"] = self.unsplash.queries, self.unsplash.pictures
        if self.hub:
            found["hub"] = self.hub.wanted, self.hub.pictures
        return found
