"""The sections about the teachers: who is asked, how, and how far it may go."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pocketvlm.keys import Address, KeyName
from pocketvlm.sections import Section


class Teacher(Section):
    """A strong vision model behind any OpenAI-compatible endpoint."""

    base_url: Address = Field("https://api.openai.com/v1", description="The endpoint, up to /v1.")
    model: str = Field("gpt-6-luna", min_length=1, description="Model name sent to the endpoint.")
    api_key_env: KeyName = Field(
        "OPENAI_API_KEY",
        description="Name of the environment variable (or line of .env) that holds the key.",
    )
    max_side: int = Field(
        1024, ge=64, description="Pictures are sent as JPEG no larger than this, pixels."
    )
    structured: bool = Field(
        True, description="Ask for JSON-schema output first; servers without it fall back to text."
    )
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature.")
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = Field(
        "none",
        description="For models that think before they answer: the prompt asks for the reasons\n"
        "anyway. Left out for models that do not know it.",
    )
    max_tokens: int = Field(
        700, ge=64, description="Longest answer, tokens; with reasoning allow 2000 or more."
    )
    repeats: int = Field(
        1,
        ge=1,
        le=9,
        description="Times each picture is asked about; agreement tells more than stated\n"
        "confidence. Needs a temperature above 0.",
    )
    batch: bool = Field(
        False, description="Ask through the Batch API: about half the price, within a day."
    )
    concurrency: int = Field(
        64, ge=1, le=1024, description="Most calls in flight; how many help is found out."
    )
    requests_per_minute: float | None = Field(
        None, gt=0, description="Limit of your account; empty: learnt from the server."
    )
    tokens_per_minute: float | None = Field(
        None, gt=0, description="Limit of your account; empty: learnt from the server."
    )
    timeout: float = Field(60.0, gt=0, description="Seconds before a call counts as failed.")
    retries: int = Field(5, ge=0, description="Repeats of a failed call, with growing pauses.")

    @model_validator(mode="after")
    def _repeats_differ(self) -> Self:
        if self.repeats > 1 and not self.temperature:
            raise ValueError(
                "repeats at temperature 0 say the same again, and are paid: set temperature: 0.7"
            )
        return self


class Label(Section):
    """Money and second opinions."""

    budget_usd: float | None = Field(
        None,
        gt=0,
        description="Hard cap on all that this workspace's ledger has cost and may cost, USD.",
    )
    second_opinion_below: float = Field(
        0.8,
        ge=0,
        le=1,
        description="With several teachers: under this confidence, with an alternative, or\n"
        "without a label a picture goes to the next one.",
    )
