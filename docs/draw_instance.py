#!/usr/bin/env python3
"""Draws docs/instance.svg, what happens to a contained instance over time, from the steps of docs/instance-plan.json.

`make picture` renews both files. With `--check` nothing is written: the exit code says whether the picture is up to date.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PLAN, PICTURE = HERE / "instance-plan.json", HERE / "instance.svg"

WIDTH, LEFT, RIGHT = 1000, 126, 984
"""Of the picture, and of what has a place in time, in pixels."""
BAR, LANE_GAP = 26, 10
"""The height of a row, and the room between two lanes."""

WIDTHS = {"prepare": 120, "cut": 96, "evidence": 104, "open": 64, "settle": 124, "close": 72}
"""Of the plan's phases; what follows them is as wide as what is left."""
CONTAINED = 146

LANES = ("identity", "evidence", "network edges", "interface")


@dataclass(frozen=True)
class Kind:
    """How a kind of step is shown: in which lane, in which words, and which parameter decides on it."""

    lane: str
    words: str
    parameter: str = ""
    until: str = "release"
    """`release`, `forever` (a release leaves it), or the phase that ends it."""
    note: str = ""
    """Stands before the bar, where that is too short to say what it is for."""


KINDS = {
    "inline-policy": Kind("identity", "its role is denied to this instance's sessions", "InlineDeny"),
    "shutdown-behavior": Kind("evidence", "a shutdown from inside stops it, and does not terminate it"),
    "termination-protection": Kind("evidence", "protected against termination"),
    "keep-volume": Kind("evidence", "volumes outlive the instance"),
    "standby": Kind("evidence", "on standby in its Auto Scaling group", "AutoScaling"),
    "snapshots": Kind("evidence", "snapshots of all its volumes", "Snapshots", "forever"),
    "network-acl": Kind("network edges", "deny entries for its addresses in network ACLs", "NetworkAcl"),
    "security-group": Kind("interface", "two security groups, made or repaired", until="forever"),
    "tracking-timeouts": Kind("interface", "idle connections are forgotten sooner"),
    "untrack": Kind("interface", "untracking group", until="close", note="so that connections become untracked"),
    "settle": Kind("interface", "wait {seconds} s", "SettleSeconds", until="close"),
    "isolate": Kind("interface", "isolation group, no rules"),
}
"""Kinds of one row stand together; the rows stand in this order."""

COLOURS = {
    "text": ("fill", "#1f2328", "#f0f6fc"),
    ".quiet": ("fill", "#59636e", "#9198a1"),
    ".card, .stays, .wake": ("fill", "#ffffff", "#0d1117"),
    ".card, .grid": ("stroke", "#d0d7de", "#3d444d"),
    ".event": ("stroke", "#1f2328", "#f0f6fc"),
    ".bar": ("fill", "#ddf4ff", "#0c2d6b"),
    ".bar, .stays": ("stroke", "#54aeff", "#388bfd"),
    ".wake": ("stroke", "#59636e", "#9198a1"),
    ".before": ("fill", "#ffd7d5", "#67060c"),
    ".cut": ("fill", "#fff1b8", "#5e4200"),
    ".open": ("fill", "#ffc999", "#8a3a06"),
    ".isolated": ("fill", "#b6ecc3", "#0f5323"),
    ".after": ("fill", "#eaeef2", "#2a313a"),
}
"""What has which colour in the light and in the dark theme. No variables: not everything that shows SVG knows them."""

SHAPE = """
text { font: 12.5px system-ui, -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif }
.strong { font-weight: 600 } .end { text-anchor: end } .middle { text-anchor: middle } .small { font-size: 11.5px }
.head { font-weight: 600; letter-spacing: .04em } .grid { stroke-dasharray: 2 4 } .event { stroke-width: 1.5 }
.wake { stroke-dasharray: 4 3 }
"""


def style() -> str:
    """The style sheet."""
    light = "\n".join(f"{what} {{ {how}: {light} }}" for what, (how, light, _) in COLOURS.items())
    dark = "\n".join(f"  {what} {{ {how}: {dark} }}" for what, (how, _, dark) in COLOURS.items())
    return f"{SHAPE}{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"


class Unfit(Exception):
    """The plan can't be drawn as this script knows it."""


class Picture:
    """The elements so far."""

    def __init__(self) -> None:
        self.elements: list[str] = []

    def add(self, element: str) -> None:
        """Adds one as it is."""
        self.elements.append(element)

    def text(self, x: float, y: float, words: str, style: str = "", room: float = WIDTH) -> None:
        """Adds a text; one that would not fit its room is a mistake. Counted with a wide font."""
        size = 11.5 if "small" in style else 12.5
        if len(words) * size * (0.64 if "strong" in style or "head" in style else 0.56) > room:
            raise Unfit(f"`{words}` does not fit {room:.0f} pixels")
        named = f' class="{style}"' if style else ""
        self.add(f'<text x="{x:g}" y="{y:g}"{named}>{escape(words)}</text>')

    def box(self, x: float, y: float, width: float, height: float, attributes: str, title: str = "") -> None:
        """Adds a box with round corners."""
        inside = f"<title>{escape(title)}</title>" if title else ""
        self.add(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" {attributes}>{inside}</rect>')

    def line(self, x: float, top: float, bottom: float, style: str) -> None:
        """Adds a vertical line."""
        self.add(f'<line x1="{x:g}" y1="{top:g}" x2="{x:g}" y2="{bottom:g}" class="{style}"/>')


@dataclass(frozen=True)
class Times:
    """Where each phase begins, from left to right."""

    starts: dict[str, int]
    contained: int
    release: int

    @classmethod
    def of(cls, phases: list[str]) -> "Times":
        """One column for each phase of the plan, then what follows."""
        starts: dict[str, int] = {}
        x = LEFT
        for phase in phases:
            if phase not in WIDTHS:
                raise Unfit(f"the phase `{phase}` has no width here")
            starts[phase], x = x, x + WIDTHS[phase]
        return cls(starts, x, x + CONTAINED)

    def end(self, kind: Kind) -> int:
        """Where what a kind of step does is over."""
        return {"release": self.release, "forever": RIGHT}.get(kind.until) or self.starts[kind.until]


@dataclass(frozen=True)
class Row:
    """A bar: all steps of one kind."""

    kind: Kind
    start: int
    end: int
    words: str
    does: str
    wake: bool = False


def kind_of(step: dict[str, Any]) -> Kind:
    """How a step is shown; a kind that is unknown here, or that a release treats otherwise than is drawn, is a mistake."""
    kind = KINDS.get(step["kind"])
    if kind is None:
        raise Unfit(f"steps of the kind `{step['kind']}` have no words here: give them a line in KINDS")
    if step["released"] != (kind.until == "release"):
        raise Unfit(f"whether a release undoes `{step['kind']}` is drawn wrongly")
    return kind


def rows_of(plan: dict[str, Any], times: Times) -> list[Row]:
    """The bars, in the order of KINDS; the wake-up, which is no step, before the first that opens something."""
    rows = []
    for name, kind in KINDS.items():
        steps = [step for step in plan["steps"] if step["kind"] == name]
        if not steps:
            continue
        start = times.starts[steps[0]["phase"]]
        if name == "untrack" and any("wake-up is stored" in remark for remark in plan["remarks"]):
            words = "wake-up stored, should this work die"
            rows.append(Row(kind, start - 40, times.contained, words, "A wake-up is stored before the instance is opened", True))
        words = kind.words.format(seconds=steps[0]["seconds"])
        rows.append(Row(kind, start, times.end(kind), words, "\n".join(step["does"] for step in steps)))
    return rows


def reach(plan: dict[str, Any]) -> str:
    """How far the settle opens the instance, in the plan's own words."""
    for remark in plan["remarks"]:
        _, found, words = remark.partition("OPEN to the network ")
        if found:
            return words.partition(", so that")[0].partition(" (")[0]
    raise Unfit("the plan does not say how far the settle opens the instance")


def exposure(plan: dict[str, Any], times: Times) -> Iterator[tuple[int, int, str, str, str]]:
    """The states of the interface: from, to, colour, and two lines of words."""
    kinds = {step["kind"] for step in plan["steps"]}
    states = [(LEFT, "before", "reachable", "as before")]
    if "network-acl" in kinds:
        states.append((times.starts["cut"], "cut", "cut off", "at the edges of subnets"))
    if "untrack" in kinds:
        states.append((times.starts["open"], "open", "OPEN", reach(plan)))
    states += [
        (times.starts["close"], "isolated", "ISOLATED", "nothing in, nothing out"),
        (times.release, "after", "reachable", "as before"),
        (RIGHT, "", "", ""),
    ]
    for (start, colour, first, second), (end, *_) in zip(states, states[1:], strict=False):
        yield start, end, colour, first, second


def draw_head(picture: Picture, plan: dict[str, Any], times: Times, bottom: float) -> float:
    """Title, events, the phases as columns; returns where the rows may begin."""
    picture.text(16, 30, "What happens to a contained instance", "strong")
    picture.text(RIGHT, 30, "here: one behind a NAT gateway, in an Auto Scaling group. It keeps running", "quiet small end")
    for x, words in ((LEFT, "message: contain"), (times.contained, "mail: Contained"), (times.release, "message: release")):
        picture.line(x, 50, bottom, "event")
        picture.text(x + 6, 60, words, "strong", 150)
    names = [*times.starts.items(), ("contained", times.contained), ("released", times.release)]
    for (name, x), (_, end) in zip(names, [*names[1:], ("", RIGHT)], strict=True):
        picture.text((x + end) / 2, 86, name.upper(), "head middle small", end - x)
        if x not in (LEFT, times.contained, times.release):
            picture.line(x, 72, bottom, "grid")
    seconds = next((step["seconds"] for step in plan["steps"] if step["seconds"]), 0)
    settle, close = times.starts["settle"], times.starts["close"]
    for start, end, words in (
        (LEFT, settle, "a few seconds"), (settle, close, f"{seconds} s"), (times.contained, times.release, "hours, days"),
    ):
        picture.text((start + end) / 2, 103, words, "quiet middle small", end - start)
    return 114


def draw_exposure(picture: Picture, plan: dict[str, Any], times: Times, y: float) -> float:
    """The band that says how reachable the interface is."""
    picture.text(16, y + 19, "its network", "strong", LEFT - 20)
    picture.text(16, y + 34, "interface is", "strong", LEFT - 20)
    for start, end, colour, first, second in exposure(plan, times):
        picture.box(start + 1, y, end - start - 2, 46, f'class="{colour}"')
        picture.text((start + end) / 2, y + 20, first, "strong middle", end - start - 4)
        picture.text((start + end) / 2, y + 36, second, "middle small", end - start - 4)
    return y + 46 + LANE_GAP


def draw_rows(picture: Picture, rows: list[Row], y: float) -> float:
    """The bars by their lanes."""
    for lane in LANES:
        mine = [row for row in rows if row.kind.lane == lane]
        if not mine:
            continue
        picture.add(f'<line x1="16" y1="{y:g}" x2="{RIGHT}" y2="{y:g}" class="grid"/>')
        y += LANE_GAP / 2
        picture.text(16, y + 17, lane, "strong", LEFT - 20)
        for row in mine:
            style = "wake" if row.wake else "bar" if row.kind.until != "forever" else "stays"
            picture.box(row.start + 2, y + 2, row.end - row.start - 4, BAR - 5, f'class="{style}"', row.does)
            picture.text(row.start + 9, y + 16, row.words, "", row.end - row.start - 12)
            draw_notes(picture, row, y + 16)
            y += BAR
        y += LANE_GAP / 2
    return y


def draw_notes(picture: Picture, row: Row, y: float) -> None:
    """The parameter that decides on a row, at the right end of its bar, and what it is for; before the bar where that is short."""
    for note, style in ((row.kind.note, "small end"), (row.kind.parameter, "quiet small end")):
        if not note or row.wake:
            continue
        inside = (len(row.words) * 12.5 + len(note) * 11.5) * 0.56 + 30 < row.end - row.start
        picture.text(row.end - 9 if inside else row.start - 6, y, note, style, WIDTH if inside else row.start - LEFT)


def draw_legend(picture: Picture, y: float) -> float:
    """What the two kinds of bars mean."""
    for x, style, words in (
        (LEFT, "bar", "put back by the release"), (LEFT + 190, "stays", "stays after it"),
        (LEFT + 320, "", "grey: the parameter that decides on it"),
    ):
        if style:
            picture.box(x + 2, y + 4, 18, 12, f'class="{style}"')
        picture.text(x + (27 if style else 0), y + 15, words, "quiet small")
    return y + 28


def description(plan: dict[str, Any]) -> str:
    """The same for those who can't see it."""
    parts = []
    for phase in plan["phases"]:
        does = "; ".join(step["does"] for step in plan["steps"] if step["phase"] == phase)
        parts.append(f"{phase}: {does}.")
    return " ".join([*parts, "A release puts back what the steps have changed. Snapshots and the two security groups stay."])


def drawn(plan: dict[str, Any]) -> str:
    """The picture of a plan."""
    times, picture = Times.of(plan["phases"]), Picture()
    for step in plan["steps"]:
        kind_of(step)
    rows = rows_of(plan, times)
    lanes = len({row.kind.lane for row in rows})
    bottom = 114 + 46 + LANE_GAP + len(rows) * BAR + lanes * LANE_GAP
    y = draw_head(picture, plan, times, bottom)
    y = draw_exposure(picture, plan, times, y)
    y = draw_rows(picture, rows, y)
    height = draw_legend(picture, y + 4) + 4
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" '
        'role="img" aria-labelledby="title description">'
    )
    return "\n".join([
        head, "<!-- Drawn by docs/draw_instance.py from docs/instance-plan.json: make picture -->",
        '<title id="title">What happens to a contained EC2 instance over time</title>',
        f'<desc id="description">{escape(description(plan))}</desc>', f"<style>{style()}</style>",
        f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1:g}" rx="8" class="card"/>',
        *picture.elements, "</svg>", "",
    ])


def main() -> int:
    """Draws, or checks what was drawn."""
    try:
        picture = drawn(json.loads(PLAN.read_text()))
    except (Unfit, OSError, json.JSONDecodeError) as error:
        print(f"error: {PLAN.name} can't be drawn: {error}", file=sys.stderr)
        return 1
    if "--check" not in sys.argv[1:]:
        PICTURE.write_text(picture)
    elif not PICTURE.is_file() or PICTURE.read_text() != picture:
        print(f"error: docs/{PICTURE.name} is not what docs/{Path(__file__).name} draws: run `make picture`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
