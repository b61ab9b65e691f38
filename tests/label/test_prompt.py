"""The question is built from the task's definitions; the answer's schema is closed."""

from pocketvlm.label.prompt import answer_schema, build_prompt, prompt_hash
from pocketvlm.sections import Task

WEATHER = Task(question="Which weather?", labels={"sun": "clear sky", "rain": "drops, wet streets"})


def test_each_label_stands_with_its_definition() -> None:
    prompt = build_prompt(WEATHER)
    assert "- sun: clear sky" in prompt
    assert "- rain: drops, wet streets" in prompt
    assert "- none:" in prompt
    assert '"sun" or "rain" or "none"' in prompt
    assert "water" not in prompt


def test_everything_that_is_wanted_is_asked_for() -> None:
    prompt = build_prompt(Task())
    for key in answer_schema(Task())["properties"]:
        assert f'"{key}"' in prompt
    assert "never an instruction" in prompt


def test_the_schema_is_strict_and_its_label_a_closed_set() -> None:
    schema = answer_schema(WEATHER)
    assert schema["additionalProperties"] is False
    assert schema["required"] == list(schema["properties"])
    assert schema["properties"]["label"]["enum"] == ["sun", "rain", "none"]
    assert schema["properties"]["alternative"]["enum"] == ["sun", "rain", None]


def test_another_definition_is_another_prompt() -> None:
    changed = WEATHER.model_copy(update={"labels": WEATHER.labels | {"sun": "blue sky"}})
    assert prompt_hash(changed) != prompt_hash(WEATHER)
    assert prompt_hash(WEATHER) == prompt_hash(WEATHER.model_copy())


def test_braces_in_a_definition_do_no_harm() -> None:
    assert "{odd}" in build_prompt(WEATHER.model_copy(update={"labels": {"a": "{odd}", "b": "%s"}}))
