"""A Go binary of 200 MB with generated functions, and others of its size with other names.

The functions differ in length, call functions that the compiler inlines, use maps, strings,
interfaces and fmt, so that their tables resemble those of a real program.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from bench.cgroups import BenchError
from bench.fleet import BUILD

PACKAGES = 64
FUNCTIONS = 560
TOKEN = b"k0000"
"""Part of the path of every package; another one of the same length gives another binary."""
# Four hashes, in the note that cmd/link writes (cmd/internal/buildid).
_BUILD_ID = re.compile(rb"\bGo\0\0([\w-]{20}(?:/[\w-]{20}){3})")

_MAIN = """package main

import (
	"flag"
	"fmt"
	"math/rand"
	"time"

{imports}
)

var tables = [][]func(int) int{{
{tables}
}}

// Some of the functions panic, for some arguments.
func call(function func(int) int, n int) (result int) {{
	defer func() {{
		if recover() != nil {{
			result = n
		}}
	}}()
	return function(n)
}}

func main() {{
	share := flag.Float64("share", 0.01, "part of a core to use")
	seed := flag.Int64("seed", 1, "which functions are called")
	flag.Parse()
	random := rand.New(rand.NewSource(*seed))
	sum := 0
	for {{
		began := time.Now()
		for time.Since(began) < 5*time.Millisecond {{
			functions := tables[random.Intn(len(tables))]
			function := functions[random.Intn(len(functions))]
			for i := 0; i < 100; i++ {{
				sum += call(function, sum+i)
			}}
		}}
		if sum == 42 {{
			fmt.Println(sum)
		}}
		time.Sleep(time.Duration(float64(time.Since(began)) * (1 / *share - 1)))
	}}
}}
"""
_SHARED = """package {package}

import "fmt"

type shape{package} struct {{
	name   string
	parts  map[int]int
	inside fmt.Stringer
}}

func (s *shape{package}) String() string {{ return s.name + "{package}" }}

func clamp(n, low, high int) int {{
	if n < low {{
		return low
	}}
	if n > high {{
		return high
	}}
	return n
}}

func fold(n int) int {{ return clamp(n*31, 0, 1<<20) ^ clamp(n, -7, 7) }}

func (s *shape{package}) add(n int) int {{
	s.parts[clamp(n, 0, 15)] += fold(n)
	return len(s.parts)
}}
"""
_STATEMENTS = """\
	n += fold(n - {number})
---
	n ^= s.add(n + {number})
---
	if n == {number}7 {{
		s.name = fmt.Sprintf("{name} %d %v", n, s.inside)
	}}
---
	for i := 0; i < n&3; i++ {{
		n += clamp(i, {number}, n) * fold(i)
	}}
---
	switch n % 5 {{
	case 1:
		n += len(s.String())
	case 2:
		n -= s.parts[{number}&15]
	case 4:
		n = fold(n) + clamp(n, 1, {number})
	}}
---
	if n == -{number} {{
		s.inside = s
		panic(s)
	}}
"""


def build_large(folder: Path = BUILD) -> Path:
    """The binary; built once, in about two minutes of CPU time."""
    target = folder / "large"
    if target.exists():
        return target
    go = shutil.which("go")
    if go is None:
        raise BenchError("no go command on PATH: the binary is a Go program (`make demo` gets one)")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        source = Path(name)
        write_source(source)
        command = [go, "build", "-trimpath", "-o", "large", "."]
        done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"go build failed: {done.stderr.strip()[-400:]}")
        (source / "large").rename(target)
    return target


def write_source(folder: Path) -> None:
    module = f"large.test/{TOKEN.decode()}"
    names = [f"part{number:03}" for number in range(PACKAGES)]
    (folder / "go.mod").write_text(f"module {module}\n\ngo 1.21\n")
    (folder / "main.go").write_text(
        _MAIN.format(
            imports="\n".join(f'\t"{module}/{name}"' for name in names),
            tables="\n".join(f"\t{name}.Functions," for name in names),
        )
    )
    for name in names:
        (folder / name).mkdir()
        (folder / name / "shared.go").write_text(_SHARED.format(package=name))
        (folder / name / "functions.go").write_text(_functions(name))


def _functions(package: str) -> str:
    chosen = random.Random(package)
    statements = _STATEMENTS.split("---\n")
    parts = [f'package {package}\n\nimport "fmt"\n']
    names = [f"{package}Function{number:04}" for number in range(FUNCTIONS)]
    for name in names:
        body = "".join(
            chosen.choice(statements).format(number=chosen.randrange(10, 999), name=name)
            for _ in range(chosen.randrange(4, 28))
        )
        parts.append(
            f"\nfunc {name}(n int) int {{\n	s := &shape{package}{{parts: map[int]int{{}}}}\n"
            f"	_ = s\n"
            f"{body}	return n\n}}\n"
        )
    listed = "\n".join(f"	{name}," for name in names)
    parts.append(f"\nvar _ = fmt.Sprint\n\nvar Functions = []func(int) int{{\n{listed}\n}}\n")
    return "".join(parts)


def write_other(large: Path, number: int, target: Path) -> None:
    """The same program with other names for its packages and another build ID, so that no cache can
    be reused. For every program whose module's path has ``TOKEN``."""
    data = large.read_bytes()
    build_id = _BUILD_ID.search(data)
    if build_id is None or TOKEN not in data:
        raise BenchError(f"{large} is no binary of this benchmark: remove it, and try again")
    digits = b"%08d" % number
    data = data.replace(build_id[1], digits + build_id[1][len(digits) :])
    target.write_bytes(data.replace(TOKEN, b"k%04d" % number))
    target.chmod(0o755)
