from bench.__main__ import CLAIMS
from bench.launch import ROOT


def test_every_part_is_in_the_readme_under_its_name() -> None:
    text = (ROOT / "bench" / "README.md").read_text()
    rows = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert rows - {"--only"} == {"micro", "ladder", *CLAIMS}
