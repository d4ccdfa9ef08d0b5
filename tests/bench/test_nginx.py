from pathlib import Path

from bench.nginx import command, configuration
from bench.requests import ANSWER


def test_nothing_but_answering_costs_anything() -> None:
    text = configuration(40_001)
    for line in ("worker_processes 1;", "access_log off;", "keepalive_timeout 75s;"):
        assert line in text
    assert "listen 127.0.0.1:40001 " in text
    assert f"return 200 '{ANSWER.decode()}';" in text


def test_braces_of_the_configuration_are_balanced() -> None:
    text = configuration(1)
    assert text.count("{") == text.count("}")
    assert "{{" not in text.replace(ANSWER.decode(), "")


def test_the_answer_does_not_end_its_own_quotes_or_name_a_variable() -> None:
    assert b"'" not in ANSWER
    assert b"$" not in ANSWER


def test_everything_is_written_into_its_own_folder(tmp_path: Path) -> None:
    words = command(40_001, tmp_path)
    assert (tmp_path / "nginx.conf").read_text() == configuration(40_001)
    assert words[words.index("-p") + 1] == str(tmp_path)
