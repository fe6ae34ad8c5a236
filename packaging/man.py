#!/usr/bin/env python3
"""A manual page from what a program says with --help. Knows the form of clap's help, and no program in particular.

    packaging/man.py PROGRAM >PROGRAM.1
"""

import datetime
import os
import re
import subprocess
import sys


def said(program, flag):
    return subprocess.run([program, flag], check=True, capture_output=True, text=True).stdout


def roff(text):
    """Text that troff prints as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def bold_flags(words):
    """`--socket <PATH>` with the flag bold and what it takes in italics."""
    words = roff(words)
    words = re.sub(r"(?<![\w<])((?:\\-){1,2}[A-Za-z][\w]*(?:\\-\w+)*)", r"\\fB\1\\fR", words)
    return re.sub(r"<([^>]+)>", r"\\fI\1\\fR", words)


def paragraphs(lines):
    """Lines joined into paragraphs; a list's entries stay on their own."""
    current, out = [], []
    for line in [*lines, ""]:
        line = line.strip()
        if (not line or line.startswith("- ")) and current:
            out.append(" ".join(current))
            current = []
        if line:
            current.append(line)
    if current:
        out.append(" ".join(current))
    return out


def page(program):
    name = os.path.basename(program)
    version = said(program, "--version").split()[1]
    lines = said(program, "--help").splitlines()
    usage = next(n for n, line in enumerate(lines) if line.startswith("Usage:"))
    date = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), datetime.timezone.utc)
    about = paragraphs(lines[:usage])
    yield f'.TH {name} 1 "{date:%Y-%m-%d}" "Spindle {version}"'
    # The first sentence, in a line: whatis reads it.
    summary = about[0].split(". ")[0]
    yield f".SH NAME\n{name} \\- {roff(summary)}"
    yield f".SH SYNOPSIS\n\\fB{name}\\fR [\\fIOPTIONS\\fR]"
    yield ".SH DESCRIPTION"
    for paragraph in about:
        yield f".PP\n{roff(paragraph)}."
    option = re.compile(r"^ {2,6}(-\w, |    )?(--[\w-]+|-\w)")
    body, heading, rest = lines[usage + 1 :], None, []
    for line in body:
        if re.match(r"^[A-Z][\w ]*:$", line):
            yield from flush(rest)
            rest, heading = [], line[:-1]
            yield f".SH {heading.upper()}"
        elif heading and option.match(line):
            yield from flush(rest)
            flags, _, text = line.strip().partition("  ")
            yield f".TP\n{bold_flags(flags)}"
            rest = [text.strip()]
        elif line and not line.startswith(" "):
            yield from flush(rest)
            rest = [line]
            if heading:
                yield ".SH NOTES"
                heading = None
        else:
            rest.append(line)
    yield from flush(rest)
    yield ".SH SEE ALSO\n" + ", ".join(
        f"\\fB{other}\\fR(1)" for other in ("spindled", "spindlectl", "spindletop") if other != name
    )


def flush(lines):
    first = True
    for paragraph in paragraphs(lines):
        if not first:
            yield ".br" if paragraph.startswith("- ") else ".sp"
        first = False
        yield bold_flags(paragraph)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print("\n".join(page(sys.argv[1])))
