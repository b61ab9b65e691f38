"""Doctor for people: short lines, the disk as a table, no key."""

from pathlib import Path

from pocketvlm.pipeline.doctor import examine, told
from tests.pipeline.examined import KEY, project
from tests.pipeline.models_server import ModelsServer

GPU = {
    "cards": [{"name": "NVIDIA L40S", "memory_gb": 48.0, "free_gb": 47.1}],
    "driver": "550.54",
    "driver_cuda": 12,
    "torch": "2.13.0",
    "torch_cuda": "13.0",
    "usable": False,
}


def test_facts_are_laid_out_in_lines(tmp_path: Path) -> None:
    with ModelsServer("seer-2") as server:
        teacher = {"api_key_env": KEY, "base_url": server.url, "model": "seer"}
        facts, _ = examine(project(tmp_path, teachers=[teacher]))
    text = told(facts)
    lines = text.splitlines()
    for start in ("runtime: llama-cpp-python", "base: ", "layout: ", "teacher: seer at", "memory,"):
        assert sum(line.startswith(start) for line in lines) == 1
    assert "{" not in text and "'" not in next(line for line in lines if line.startswith("memory"))
    assert lines[-1].startswith("warning: ") and "seer-2" in lines[-1]
    assert all(len(line) < 250 for line in lines)


def test_the_disks_table_adds_up(tmp_path: Path) -> None:
    coco = {"categories": {"water": ["boat"]}, "pictures": 50_000}
    facts, _ = examine(project(tmp_path, collect={"coco": coco, "folder": "none"}))
    lines = told(facts).splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("disk, GB"))
    table = [line.split() for line in lines[start + 1 :] if line.startswith("  ")]
    sizes = [float(row[0].strip("()")) for row in table]
    assert [row[1] for row in table][:3] == ["collect", "label", "prepare"]
    stays = sum(size for size, row in zip(sizes[:-1], table, strict=False) if "(" not in row[0])
    assert abs(sizes[-1] - stays) < 0.1 and table[-1][-1] == str(tmp_path)


def test_a_card_is_told_with_its_driver() -> None:
    text = told({"gpu": GPU})
    assert text.splitlines() == [
        "GPU: NVIDIA L40S, 47.1 of 48.0 GB free",
        "driver 550.54 (CUDA 12); torch 2.13.0 cannot use it",
    ]
    assert told({"gpu": None}) == "GPU: none"
