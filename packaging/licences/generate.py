#!/usr/bin/env python3
"""Whose work is in the programs, and under which terms: written from what cargo knows, and from others.toml for all that is not Rust.

    packaging/licences/generate.py           writes THIRD-PARTY.md anew
    packaging/licences/generate.py --check   says whether it is current
    packaging/licences/generate.py --texts   prints the texts of all licences, for packages

Only the crates that are linked into the four programs on Linux are named: what builds and tests them goes to nobody.
"""

import collections
import difflib
import json
import os
import re
import subprocess
import sys
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LIST = os.path.join(HERE, "THIRD-PARTY.md")
PROGRAMS = ("spindled", "spindle-worker", "spindlectl", "spindletop")
TARGETS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
TEXT_NAMES = re.compile(r"(?i)^(licen[cs]e|copying|notice|unlicense|copyright)")


def metadata(target):
    command = ["cargo", "metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: cargo does not know what the programs are made of: {done.stderr.strip()}\nhint: cargo fetch --locked")
    return json.loads(done.stdout)


def linked():
    """Crates that end in a program: by name and version, with the programs that they end in."""
    found = {}
    for target in TARGETS:
        known = metadata(target)
        packages = {package["id"]: package for package in known["packages"]}
        nodes = {node["id"]: node for node in known["resolve"]["nodes"]}
        for program in PROGRAMS:
            todo = [i for i, package in packages.items() if package["name"] == program and not package["source"]]
            seen = set(todo)
            while todo:
                for needed in nodes[todo.pop()]["deps"]:
                    normal = any(kind["kind"] is None for kind in needed["dep_kinds"])
                    macros = "proc-macro" in [kind for t in packages[needed["pkg"]]["targets"] for kind in t["kind"]]
                    if normal and not macros and needed["pkg"] not in seen:
                        seen.add(needed["pkg"])
                        todo.append(needed["pkg"])
            for i in seen:
                package = packages[i]
                if package["source"]:
                    crate = found.setdefault((package["name"], package["version"]), {**package, "programs": set()})
                    crate["programs"].add(program)
    return [found[key] for key in sorted(found)]


def licence(crate):
    """As SPDX writes it today."""
    return (crate["license"] or "see its licence file").replace("/", " OR ")


def models():
    """The catalogue's names, read where they are defined; others.toml says whose they are."""
    with open(os.path.join(ROOT, "shared/src/catalogue.rs"), encoding="utf-8") as file:
        source = file.read()
    names = re.findall(r'^\s*Model::new\(\s*"([^"]+)"', source, re.M)
    if not names:
        sys.exit("error: no model is found in shared/src/catalogue.rs: its form has changed")
    return names


def others():
    with open(os.path.join(HERE, "others.toml"), "rb") as file:
        return tomllib.load(file)


def document():
    crates, beside = linked(), others()
    yield "# Third parties"
    yield ""
    yield "Written by `packaging/licences/generate.py`; `packaging/test.sh` checks that it is current."
    yield ""
    yield from beside["terms"]["text"].strip().splitlines()
    for group in beside["group"]:
        yield ""
        yield f"## {group['title']}"
        yield ""
        if "text" in group:
            yield group["text"].strip()
            yield ""
        yield "| what | by | licence | |"
        yield "|---|---|---|---|"
        for part in group["part"]:
            yield f"| {part['name']} | {part['by']} | {part['licence']} | {part.get('note', '')} |"
    yield ""
    yield "## Models"
    yield ""
    yield "None is part of a package; `spindlectl models pull` fetches one from its publisher when it is asked for."
    yield ""
    yield "| models of the catalogue | by | licence |"
    yield "|---|---|---|"
    left = models()
    for part in beside["model"]:
        names = [name for name in left if re.fullmatch(part["names"], name)]
        left = [name for name in left if name not in names]
        if not names:
            sys.exit(f"error: others.toml speaks of models that the catalogue does not have: {part['names']}")
        yield f"| {', '.join(f'`{name}`' for name in names)} | {part['by']} | {part['licence']} |"
    if left:
        sys.exit(f"error: others.toml does not say whose these models are: {', '.join(left)}")
    yield ""
    yield f"## Crates ({len(crates)})"
    yield ""
    yield "d = `spindled`, w = `spindle-worker`, c = `spindlectl`, t = `spindletop`."
    yield ""
    yield "| crate | licence | in |"
    yield "|---|---|---|"
    for crate in crates:
        where = "".join(letter for letter, program in zip("dwct", PROGRAMS) if program in crate["programs"])
        yield f"| [{crate['name']} {crate['version']}](https://crates.io/crates/{crate['name']}/{crate['version']}) | {licence(crate)} | {where} |"


def texts():
    """Every text once, with those that it is of."""
    owners = collections.defaultdict(list)
    without = []
    for crate in linked():
        folder = os.path.dirname(crate["manifest_path"])
        files = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if TEXT_NAMES.match(name)]
        files = [file for file in files if os.path.isfile(file)]
        for inner in others().get("inside", {}).get(crate["name"], []):
            files.append(os.path.join(folder, inner))
        title = f"{crate['name']} {crate['version']} ({licence(crate)})"
        for file in files:
            with open(file, encoding="utf-8", errors="replace") as text:
                owners["\n".join(line.rstrip() for line in text.read().strip().splitlines())].append(title)
        if not files and "MIT" in licence(crate):
            # The text that came with none of them: ours is the same, but for whose it is.
            with open(os.path.join(ROOT, "LICENSE-MIT"), encoding="utf-8") as text:
                _, terms = text.read().split("\n", 1)
            owners[f"Copyright (c) {', '.join(crate['authors']) or 'its authors'}\n{terms.rstrip()}"].append(title)
        elif not files:
            without.append(title)
    yield "The licences of what is linked into Spindle's programs. THIRD-PARTY.md lists it all."
    if without:
        yield "\nNo text came with these; the terms are those that SPDX (https://spdx.org/licenses/) gives under the name:\n"
        yield from (f"  {title}" for title in without)
    for text, titles in sorted(owners.items(), key=lambda pair: pair[1]):
        yield "\n" + "=" * 80
        yield from dict.fromkeys(titles)
        yield "-" * 80 + "\n"
        yield text


def main():
    wish = sys.argv[1:]
    if wish == ["--texts"]:
        print("\n".join(texts()))
        return
    if wish not in ([], ["--check"]):
        sys.exit(__doc__)
    fresh = "\n".join(document()) + "\n"
    if not wish:
        with open(LIST, "w", encoding="utf-8") as file:
            file.write(fresh)
        return
    with open(LIST, encoding="utf-8") as file:
        old = file.read()
    if old != fresh:
        sys.stderr.writelines(difflib.unified_diff(old.splitlines(True), fresh.splitlines(True), "THIRD-PARTY.md", "as it is now", n=0))
        sys.exit("error: THIRD-PARTY.md is not current\nhint: packaging/licences/generate.py")


if __name__ == "__main__":
    main()
