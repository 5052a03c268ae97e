"""The file of `gotax agent --config`, and --print-config."""

from __future__ import annotations

import argparse
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from gotax import cli
from gotax.cli import configuration
from gotax.cli.command import CommandParser
from gotax.cli.options import thresholds_of
from gotax.cli.settings import KEYS, Setting, settings_of, unnamed
from gotax.config import Suppression, Thresholds
from gotax.errors import UserError
from gotax.exporters.backends import KINDS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "configuration.md"
OTHER: dict[str, str] = {  # by key: a value that is not the default, as TOML
    "hz": "97",
    "interval_s": "7.5",
    "proc": '"/host/proc"',
    "sys": '"/host/sys"',
    "node": '"n1"',
    "kubelet": '"https://n1:10250"',
    "kubelet_insecure": "true",
    "events": "true",
    "min_samples": "77",
    "large_node_cpus": "99",
    "settle_s": "33",
    "mismatch_ratio": "3",
    "headroom": "3.5",
    "saving_cores": "0.5",
    "suppress": '["GT001", "GT003@batch-*", "GT001/environment@\\u00e9\\u0022\\\\*"]',
    "listen": '"[::1]:9000"',
    "drop_label": '["pod", "id"]',
    "max_series": "12345",
    "level": '"debug"',
    "collector": '"c:9746"',
    "name": '"a \\U0001F600 \\\\ name"',
    "plaintext": "true",
    "spool_max_bytes": "2097152",
    "spool_max_age_s": "90",
    "endpoint": '"https://backend:1/x"',
    "header": '["X-Scope-OrgID=tenant"]',
}


def agent_parser() -> CommandParser:
    parsers = [
        action.choices["agent"]
        for action in cli.build_parser("agent")._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    assert isinstance(parsers[0], CommandParser)
    return parsers[0]


SETTINGS = settings_of(agent_parser())
VALUES = {setting.action.dest for setting in SETTINGS}


def options_of(*flags: str) -> argparse.Namespace:
    return cli.build_parser("agent").parse_args(["agent", *flags])


def held(options: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(options).items() if name in VALUES}


def other(setting: Setting) -> str:
    usual = {int: "7", float: "0.125", str: '"/somewhere"'}
    return OTHER.get(setting.key) or usual[setting.kind]


def everything() -> str:
    """A file with another value for every key."""
    return "\n".join(
        f"[{section}]\n"
        + "\n".join(f"{s.key} = {other(s)}" for s in SETTINGS if s.section == section)
        for section in KEYS
    )


@pytest.fixture(autouse=True)
def _no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NODE_NAME", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gotax.toml"


def refusal(file: Path, content: str | bytes) -> str:
    """The message without the file's name, with which it begins."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError) as caught:
        options_of("--config", str(file))
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(file))
    return text.removeprefix(str(file))


def test_every_flag_of_the_agent_has_a_key() -> None:
    """A new flag without a key fails here; so does a key without a flag, or two keys for one
    flag."""
    assert unnamed(agent_parser()) == set()
    assert len(VALUES) == len(SETTINGS) == sum(map(len, KEYS.values())) > 50
    assert agent_parser().options().keys() - {"config", "print_config"} == VALUES


def test_a_key_has_the_name_of_its_flag() -> None:
    """With the unit, and without the section."""
    for setting in SETTINGS:
        dest = setting.action.dest
        backend = any(setting.section == kind.name for kind in KINDS)
        names = {dest, f"{dest}_s", dest.removeprefix("collector_"), dest.removeprefix("log_")}
        assert setting.key in (names if not backend else {dest.removeprefix(setting.section + "_")})
        if dest in ("interval", "settle", "spool_max_age"):  # seconds
            assert setting.key == f"{dest}_s"


def test_without_a_file_the_options_are_the_defaults() -> None:
    options = options_of()
    assert held(options) == {s.action.dest: s.action.default for s in SETTINGS}
    assert thresholds_of(options) == Thresholds()
    assert {source.kind for source in options.sources.values()} == {"default"}


def test_default_lists_are_not_shared() -> None:
    options_of().suppress.append("x")
    assert options_of().suppress == []


def test_every_key_sets_the_value_of_its_flag(file: Path) -> None:
    """To the same value of the same type."""
    flags: list[str] = []
    for setting in SETTINGS:
        value = tomllib.loads(f"x = {other(setting)}")["x"]
        for item in value if setting.is_repeatable else [value]:
            flags += [setting.flag] if item is True else [f"{setting.flag}={item}"]
    file.write_text(everything())
    by_file, by_flags = options_of("--config", str(file)), options_of(*flags)
    assert held(by_file) == held(by_flags)
    assert [*map(type, held(by_file).values())] == [*map(type, held(by_flags).values())]
    for setting in SETTINGS:
        name = setting.action.dest
        assert getattr(by_file, name) != setting.default(), setting
        assert by_file.sources[name].kind == "file"
        assert by_flags.sources[name].kind == "flag"
    assert by_file.listen == ("::1", 9000)
    assert Suppression("GT003", "", "batch-*") in thresholds_of(by_file).suppressions


def test_a_flag_overrides_the_file(file: Path) -> None:
    """Also a flag with the default value, and a switch; a list is replaced, not extended."""
    file.write_text(everything())
    options = options_of(
        *("--config", str(file), "--hz", "19", "--drop-label", "workload"),
        *("--no-collector-plaintext", "--no-kubelet-insecure", "-i", "15"),
    )
    assert (options.hz, options.interval, options.drop_label) == (19, 15.0, ["workload"])
    assert (options.collector_plaintext, options.kubelet_insecure) == (False, False)
    assert options.sources["hz"].kind == "flag"
    assert options.max_series == 12345


def printed(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    assert cli.main(["agent", "--print-config", *flags]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("is_full", [False, True])
def test_the_printed_settings_give_the_same_options(
    is_full: bool, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Except headers, whose values are not shown."""
    file.write_text(everything() if is_full else "")
    text = printed(capsys, "--config", str(file), "--hz", "50", "--suppress", "GT004")
    again = tmp_path / "again.toml"
    again.write_text(text)
    before = options_of("--config", str(file), "--hz", "50", "--suppress", "GT004")
    for kind in KINDS:
        setattr(before, f"{kind.name}_header", [])
    after = options_of("--config", str(again))
    assert held(after) == held(before)
    assert text.isascii()


def test_print_config_shows_the_source_of_each_value(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("[metrics]\nmax_series = 500\n")
    monkeypatch.setenv("NODE_NAME", "n\u00e9")
    lines = printed(capsys, "--config", str(file), "--hz=19").splitlines()
    assert f"max_series = 500  # file {file}" in lines
    assert "hz = 19  # flag" in lines
    assert "interval_s = 15.0  # default" in lines
    assert "# kubelet is not set  # default" in lines
    assert '# node = "n\\u00e9"  # environment NODE_NAME' in lines


def test_a_node_name_from_the_environment_stays_optional(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Printed and read again, it must not become a required name, without which the agent does not
    start."""
    monkeypatch.setenv("NODE_NAME", "n1")
    file.write_text(printed(capsys))
    assert options_of("--config", str(file)).node is None


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_no_secret_is_printed(kind: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the names of headers; a token file is a path, and is not opened."""
    file.write_text(
        f'[{kind}]\nendpoint = "https://b"\nheader = ["Authorization=Bearer hush=hush"]\n'
        'token_file = "/nonexistent"\n'
    )
    text = printed(capsys, "--config", str(file), f"--{kind}-user=u")
    assert "hush" not in text
    assert f"# header: authorization  # file {file}; the values are hidden" in text
    assert '"/nonexistent"' in text
    assert "header" not in tomllib.loads(text)[kind]


@pytest.mark.parametrize(
    "content",
    [
        '[otlp]\nheader = ["Authorization: Basic hush=="]',
        '[otlp]\nheader = ["hush"]',
        '[otlp]\nheader = "a=hush"',
        '[otlp]\nheader = [["a=hush"]]',
        '[otlp]\nheader = { a = "hush" }',
        '[sampling]\nhz = "hush"',
        '[stream]\nplaintext = "hush"',
        '[stream]\ncollector = "u:hush@host:1"',
        '[kubernetes]\nkubelet = "https://u:hush@host"',
    ],
)
def test_no_secret_is_in_an_error(content: str, file: Path) -> None:
    """A wrong header, a password in a URL, a secret at the wrong key."""
    assert "hush" not in refusal(file, content)


@pytest.mark.parametrize("flags", [(), ("--print-config",)])
def test_a_password_in_a_backends_url_is_refused_without_showing_it(
    flags: tuple[str, ...], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text('[parca]\nendpoint = "http://u:hush@h"')
    assert cli.main(["agent", "--config", str(file), *flags]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "hush" not in output.err
    assert output.err.startswith(f"gotax: {file}, line 2: [parca] endpoint: a user or a password")


@pytest.mark.parametrize("section", ["otlp", "stream"])
def test_a_key_without_its_destination_is_named_as_in_the_file(
    section: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not as a flag that was never given."""
    file.write_text(f'[{section}]\nca = "ca.pem"')
    assert cli.main(["agent", "--config", str(file)]) == 2
    assert f"{file}, line 2: [{section}] ca needs --" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[sampling]\nhzz = 5", ", line 2: [sampling] hzz is unknown; did you mean hz?"),
        (
            "[sampling]\n\n'hertz' = 5",
            ", line 3: [sampling] hertz is unknown: [sampling] has hz, interval_s, proc, sys",
        ),
        (
            "[metrics]\nmax-series = 500",
            "[metrics] max-series is unknown; did you mean max_series?",
        ),
        ("[metrics]\nhz = 5", "[metrics] hz is unknown; did you mean [sampling] hz?"),
        ("[metrics]\ntoken-fil = 5", "is unknown; did you mean [stream] token_file?"),
        ("[log]\ninterval = 5", "[log] interval is unknown; did you mean [sampling] interval_s?"),
        ("hz = 5", ", line 1: hz is not in a section: write it as [sampling] hz"),
        (
            "[kubernets]\nnode = 'a'",
            ", line 1: [kubernets] is an unknown section; did you mean kuber",
        ),
        ("[x]", "[x] is an unknown section: sections are [sampling], [kubernetes], [findings],"),
        ("sampling = 5", ": [sampling] has to be a section: write [sampling]"),
        ("[[sampling]]\nhz = 5", ": [sampling] has to be a section: write [sampling]"),
        ("sampling.hertz = 5", ": [sampling] hertz is unknown"),
        (
            "[sampling]\nhz = 1000",
            ", line 2: [sampling] hz: '1000' is not a whole number from 1 to 999",
        ),
        ("[sampling]\nhz = '19'", "hz has to be a whole number from 1 to 999, not text"),
        ("[sampling]\nhz = 19.5", "from 1 to 999, not a number with a fraction"),
        ("[sampling]\nhz = true", "from 1 to 999, not true or false"),
        ("[sampling]\nhz = [19]", "from 1 to 999, not an array"),
        ("[sampling]\nhz = 1979-05-27", "from 1 to 999, not a date or a time"),
        ("[sampling]\nhz = 0x" + "f" * 9000, "from 1 to 999, not a number of more than 64 bits"),
        ("[sampling]\nhz = " + "9" * 9000, " contains a number with too many digits"),
        ("[sampling]\nproc = 5", "[sampling] proc has to be text in quotes (the host's /proc"),
        (
            "[sampling]\nproc = 'a\\u0000'".replace("'", '"'),
            "proc has to be text without a zero byte",
        ),
        ("[findings]\ngc_share = nan", "gc_share: 'nan' is not a share from 0 to 1"),
        (
            "[findings]\ngc_share = true",
            "gc_share has to be a share from 0 to 1, not true or false",
        ),
        ("[findings]\nsuppress = 'GT001'", "suppress has to be an array of: text in quotes"),
        (
            "[findings]\nsuppress = ['GT001', 'GT01']",
            "suppress[1]: 'GT01' is not the code of a finding",
        ),
        (
            "[metrics]\ndrop_label = ['pods']",
            "drop_label[0]: 'pods' is not one of namespace, pod, ",
        ),
        (
            "[metrics]\ndrop_label = [1]",
            "[0] has to be one of namespace, pod, container, workload, id",
        ),
        ("[metrics]\nlisten = ':99999'", "listen: ':99999' has no port from 0 to 65535"),
        ("[log]\nlevel = 'shout'", "level: 'shout' is not one of debug, info, warning"),
        ("[stream]\nplaintext = 1", "plaintext has to be true or false (do not use TLS"),
        ("[sampling]\nhz = 5\nhz = 6", " is not TOML: Cannot overwrite a value"),
        ("[sampling\nhz = 5", " is not TOML: "),
        ("a = " + "[" * 100_000, " is not TOML: it is nested too deeply"),
        (b"\xff", " is not TOML: it is not UTF-8 at byte 0"),
        (b"#" * ((1 << 20) + 1), " is larger than 1048576 bytes"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_mistake_is_one_sentence(content: str | bytes, sentence: str, file: Path) -> None:
    """With file, key, and the allowed values, from the flag's own check."""
    assert sentence in refusal(file, content)


def test_a_long_mistake_is_shortened(file: Path) -> None:
    """Without control characters for the terminal."""
    long = "x" * 500_000
    for content in (
        f"[sampling]\n{long} = 1",
        f"[{long}]",
        f"{long} = 1",
        f"[findings]\nsuppress = ['{long}']",
        f"[log]\nlevel = '{long}'",
    ):
        assert len(refusal(file, content)) < 700
    assert "\\x1b[2J" in refusal(file, '[log]\nlevel = "\\u001b[2J"')
    assert "\\x1b[2J" in refusal(file, '[log]\n"\\u001b[2J" = 1')


def test_a_line_is_named_only_if_it_is_certain(file: Path) -> None:
    """A line of a multi-line text may look like a key."""
    text = '[sampling]\nproc = """\nhz = 5\n"""\nhz = 5000\n'
    assert refusal(file, text).startswith(": [sampling] hz: ")


def test_a_file_of_the_largest_size_is_read(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf[sampling]\r\nhz = 5\r\n#".ljust(1 << 20, b"#"))
    assert options_of("--config", str(file)).hz == 5


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nonexistent", "No such file or directory"),
        ("/", "Is a directory"),
        ("/dev/zero", "is larger than"),
        ("/proc/self/mem", "Input/output error"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(
    path: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["agent", "--config", path]) == 2
    error = capsys.readouterr().err
    assert path in error
    assert reason in error
    assert error.count("\n") == 1


def test_a_pipe_can_be_read() -> None:
    """`gotax agent --config <(…)`."""
    read, write = os.pipe()
    os.write(write, b"[sampling]\nhz = 7")
    os.close(write)
    try:
        assert options_of("--config", f"/dev/fd/{read}").hz == 7
    finally:
        os.close(read)


def test_a_flag_that_is_not_utf_8_is_no_toml(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--proc", os.fsdecode(b"/\xff"))
    assert "# proc is not UTF-8  # flag" in text
    tomllib.loads(text)


def test_only_the_agent_loads_the_settings() -> None:
    """Other commands have no file."""
    assert "config" not in vars(cli.build_parser("check").parse_args(["check"]))


def table() -> str:
    """The last section of the page."""
    kinds = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    lines = ["| section | key | flag | value | default |", "| --- | --- | --- | --- | --- |"]
    for setting in SETTINGS:
        value, choices = kinds[setting.kind], setting.action.choices
        value = ", ".join(f"`{choice}`" for choice in choices) if choices else value
        value = f"array: {value}" if setting.is_repeatable else value
        default = setting.default()
        usual = "" if default in (None, "", []) else f"`{configuration.as_toml(default)}`"
        cells = (f"`[{setting.section}]`", f"`{setting.key}`", f"`{setting.flag}`", value, usual)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def test_the_page_lists_every_key(pytestconfig: pytest.Config) -> None:
    """--update-golden writes its table."""
    head, mark, _ = PAGE.read_text().partition("## All keys\n\n")
    if pytestconfig.getoption("--update-golden"):
        PAGE.write_text(head + mark + table())
    assert PAGE.read_text() == head + mark + table()


def test_the_example_of_the_page_is_valid(file: Path) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    file.write_text(example)
    options = options_of("--config", str(file))
    assert options.suppress == [Suppression("GT002"), Suppression("GT001", "", "batch-*")]
    assert options.pyroscope_user == "123456"


def test_the_mistakes_of_the_page_give_its_messages(file: Path) -> None:
    messages = [
        refusal(file, content)
        for content in (
            "[sampling]\n\nhertz = 5",
            "[metrics]\nmax-series = 500",
            "[sampling]\nhz = 1000",
        )
    ]
    lines = re.findall(r"^    gotax: gotax.toml(.*)$", PAGE.read_text(), re.MULTILINE)
    assert lines == messages
