"""Recognition of spoken commands by their grammar: Viterbi search over a weighted automaton of characters, on CTC's
scores, in numpy.

The automaton is the grammar with every word spelled out. It looks for the most likely way through a whole recording, so
a word that was hardly heard is decided by what can stand there. Between words anything may be said: silence is free,
and each token of something else costs a little. The same score without a grammar tells whether there was any command.

Each labelled arc is a state that emits its character, and each node a state that emits the blank, as in CTC's own
alignments (Graves et al., ICML 2006). Shapes: T tokens, C classes, A arcs, P nodes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from muomni_audio_encoder.ctc import BLANK, Alphabet
from muomni_cli.structured_output.command_grammar import Choice, Command, CommandGrammar, Node, SlotName, Word

FLOOR = -9.0  # log-probability below which scores are not believed
FILLER = 2.5  # nats that a token of something else than the grammar's words costs
PRIOR = 0.4  # weight of the grammar's own probabilities, of one choice in as many as there are
REJECT = 0.85  # nats a character by which the best command may be worse than the best spelling
DOUBT = 0.8  # nats a token of doubt about the best spelling, from which on nothing was understood
SHORTEST = 4  # characters that a command has at least, for that measure
NEVER = np.float32(-1e30)

Scores = NDArray[np.float32]
Tag = tuple[str, str]  # an intent or slot, and its value
INTENT = ""  # as a slot's name: the tag of an intent


@dataclass(slots=True)
class _Builder:
    """A grammar as an automaton, with empty arcs."""

    alphabet: Alphabet
    ways: dict[str, list[tuple[str, list[str]]]]
    sources: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    empty: list[list[tuple[int, float, Tag | None]]] = field(default_factory=list)
    boundary: list[bool] = field(default_factory=list)  # of nodes: between words

    def node(self, *, boundary: bool) -> int:
        self.empty.append([])
        self.boundary.append(boundary)
        return len(self.empty) - 1

    def skip(self, source: int, target: int, weight: float = 0.0, tag: Tag | None = None) -> None:
        self.empty[source].append((target, weight, tag))

    def words(self, start: int, words: Sequence[str], end: int) -> None:
        """Spell words from the node ``start`` to ``end``."""
        classes = [self.alphabet.encode(word) for word in words]
        for number, word in enumerate(classes):
            for place, label in enumerate(word):
                last = place == len(word) - 1
                target = end if last and number == len(classes) - 1 else self.node(boundary=last)
                self.sources.append(start)
                self.targets.append(target)
                self.labels.append(label)
                start = target

    def tree(self, start: int, node: Node, end: int) -> None:
        """Say ``node`` from the node ``start`` to ``end``."""
        if isinstance(node, Word):
            self.words(start, [node.text], end)
        elif isinstance(node, SlotName):
            ways = self.ways[node.name]
            for value, words in ways:
                begin = self.node(boundary=True)
                self.skip(start, begin, -math.log(len(ways)), (node.name, value))
                self.words(begin, words, end)
        elif isinstance(node, Choice):
            for option in node.options:
                begin = self.node(boundary=True)
                self.skip(start, begin, -math.log(len(node.options)))
                self.tree(begin, option, end)
        elif not node.parts:
            self.skip(start, end)
        else:
            for part in node.parts[:-1]:
                after = self.node(boundary=True)
                self.tree(start, part, after)
                start = after
            self.tree(start, node.parts[-1], end)


class CommandDecoder:
    """Commands from scores.

    Args:
        grammar: what may be said.
        alphabet: of the scores.
    """

    def __init__(self, grammar: CommandGrammar, alphabet: Alphabet) -> None:
        built = _Builder(alphabet, {slot: list(grammar.ways(slot)) for slot in grammar.slots})
        start, end = built.node(boundary=True), built.node(boundary=True)
        for intent in grammar.intents:
            begin = built.node(boundary=True)
            built.skip(start, begin, -math.log(len(grammar.intents)), (INTENT, intent))
            built.tree(begin, grammar.tree(intent), end)
        self.alphabet = alphabet
        self._space = alphabet.classes_of(" ")
        self._compile(built, start, end)

    def _compile(self, built: _Builder, start: int, end: int) -> None:
        """Replace empty arcs by jumps: from nodes where an arc ends (and the start) to nodes where one begins (and the
        end)."""
        begins = sorted({*built.sources, end})
        ends = sorted({*built.targets, start})
        place = {node: index for index, node in enumerate(begins)}
        jumps: list[tuple[int, int, float, tuple[Tag, ...]]] = []
        for index, node in enumerate(ends):
            for target, weight, tags in _reachable(built.empty, node):
                if target in place:
                    jumps.append((place[target], index, weight, tags))
        jumps.sort(key=lambda jump: jump[0])
        order = np.argsort(np.array(built.targets), kind="stable")
        sources, targets = np.array(built.sources)[order], np.array(built.targets)[order]
        self._label = np.array(built.labels)[order]
        self._source = np.array([place[node] for node in sources.tolist()])
        at = {node: index for index, node in enumerate(ends)}
        self._target = np.array([at[node] for node in targets.tolist()])
        self._start, self._end = at[start], place[end]
        self._boundary = np.array([built.boundary[node] for node in begins])
        self._jump_to = np.array([jump[0] for jump in jumps])
        self._jump_from = np.array([jump[1] for jump in jumps])
        self._jump_weight = np.array([jump[2] * PRIOR for jump in jumps], np.float32)
        self._jump_tags = [jump[3] for jump in jumps]
        self._jump_begins = np.flatnonzero(np.diff(self._jump_to, prepend=-1))
        self._jump_nodes = self._jump_to[self._jump_begins]
        self._arc_begins = np.flatnonzero(np.diff(self._target, prepend=-1))
        self._arc_nodes = self._target[self._arc_begins]
        self._nodes, self._ends = len(begins), len(ends)
        last = {int(node): int(label) for node, label in zip(self._target, self._label, strict=True)}
        lone = {
            int(node) for node, count in zip(*np.unique(self._target, return_counts=True), strict=True) if count == 1
        }
        before = {}  # node where arcs begin -> the only node it is reached from
        for to, origin in zip(self._jump_to.tolist(), self._jump_from.tolist(), strict=True):
            before[to] = -1 if to in before else origin
        origin = [before.get(int(node), -1) for node in self._source]
        self._repeats = np.array(
            [node in lone and last[node] == label for node, label in zip(origin, self._label.tolist(), strict=True)]
        )

    def decode(self, scores: Scores) -> Command:
        """(T,C) log-probabilities -> the command, or none."""
        command, loss = self.best(scores)
        return command if loss <= REJECT else Command(None, {})

    def best(self, scores: Scores) -> tuple[Command, float]:
        """The most likely command, and by how many nats a character it is worse than the best spelling; infinitely many
        if no spelling is likely."""
        if not len(scores):
            return Command(None, {}), math.inf
        floored = np.maximum(scores, np.float32(FLOOR)).astype(np.float32)
        blank = np.maximum(floored[:, BLANK], floored[:, self._space].max(1, initial=FLOOR))
        other = floored[:, 1:].max(1)
        filler = np.maximum(blank, other - np.float32(FILLER))
        arcs, nodes = self._search(floored, blank, filler)
        best, tags = self._trace(arcs, nodes)
        if best < NEVER / 2:  # too short for any command
            return Command(None, {}), math.inf
        free = float(floored.max(1).sum())
        marks = floored.argmax(1)
        spelled = int(np.count_nonzero((marks[1:] != marks[:-1]) & (marks[1:] != BLANK))) + int(marks[0] != BLANK)
        slots: dict[str, str] = {}
        intent: str | None = None
        for name, value in tags:
            if name == INTENT:
                intent = value
            else:
                slots.setdefault(name, value)
        loss = (free - best) / max(spelled, SHORTEST) if free > -DOUBT * len(scores) else math.inf
        return Command(intent, slots), loss

    def _search(self, scores: Scores, blank: Scores, filler: Scores) -> tuple[Scores, Scores]:
        """Best score of every state after each token: arcs (T,A), and nodes (T,P) in the blank."""
        count = len(scores)
        arcs = np.full((count, self._label.size), NEVER, np.float32)
        nodes = np.full((count, self._nodes), NEVER, np.float32)
        emitted = scores[:, self._label] if count * self._label.size < 1 << 24 else None
        reached = np.full(self._ends, NEVER, np.float32)
        reached[self._start] = 0.0  # before the first token
        old_arcs, old_nodes = np.full(self._label.size, NEVER, np.float32), np.full(self._nodes, NEVER, np.float32)
        for token in range(count):
            arrived = self._arrived(reached)
            entered = np.maximum(np.where(self._repeats, NEVER, arrived[self._source]), old_nodes[self._source])
            emission = scores[token, self._label] if emitted is None else emitted[token]
            np.maximum(entered, old_arcs, out=entered)
            arcs[token] = entered + emission
            silence = np.where(self._boundary, filler[token], blank[token])
            nodes[token] = np.maximum(old_nodes, arrived) + silence
            old_arcs, old_nodes = arcs[token], nodes[token]
            reached = np.full(self._ends, NEVER, np.float32)
            reached[self._arc_nodes] = np.maximum.reduceat(old_arcs, self._arc_begins)
        return arcs, nodes

    def _arrived(self, reached: Scores) -> Scores:
        """(P,) best score of a jump to each node, from the scores where arcs have ended."""
        arrived = np.full(self._nodes, NEVER, np.float32)
        jumped = reached[self._jump_from] + self._jump_weight
        arrived[self._jump_nodes] = np.maximum.reduceat(jumped, self._jump_begins)
        return arrived

    def _trace(self, arcs: Scores, nodes: Scores) -> tuple[float, list[Tag]]:
        """Score of the best way to the end, and the tags on it."""
        tags: list[Tag] = []
        token = len(arcs) - 1
        at_node, state = True, self._end
        best = float(nodes[token, self._end])
        into, final = self._into(self._end, arcs[token])
        if into is not None and final > best:
            best = final
            arc, jump = into
            tags += reversed(self._jump_tags[jump])
            at_node, state = False, arc
        while token > 0:
            if at_node:
                stay = float(nodes[token - 1, state])
                node = state
            else:
                stay = float(arcs[token - 1, state])
                node = int(self._source[state])
                if float(nodes[token - 1, node]) > stay:
                    stay, at_stay = float(nodes[token - 1, node]), True
                else:
                    at_stay = False
            into, score = (None, -math.inf)
            if at_node or not self._repeats[state]:
                into, score = self._into(node, arcs[token - 1])
            if into is not None and score > stay:
                arc, jump = into
                tags += reversed(self._jump_tags[jump])
                at_node, state = False, arc
            elif not at_node and at_stay:
                at_node, state = True, node
            token -= 1
        node = state if at_node else int(self._source[state])
        first = np.flatnonzero((self._jump_to == node) & (self._jump_from == self._start))
        if first.size:
            chosen = first[self._jump_weight[first].argmax()]
            tags += reversed(self._jump_tags[int(chosen)])
        return best, tags[::-1]

    def _into(self, node: int, arcs: Scores) -> tuple[tuple[int, int] | None, float]:
        """The best arc that ends where a jump to ``node`` starts, with the jump, and the score."""
        begin, end = np.searchsorted(self._jump_to, [node, node + 1])
        best: tuple[int, int] | None = None
        score = -math.inf
        for jump in range(int(begin), int(end)):
            origin = self._jump_from[jump]
            first, last = np.searchsorted(self._target, [origin, origin + 1])
            if first == last:
                continue
            arc = int(first) + int(arcs[first:last].argmax())
            found = float(arcs[arc] + self._jump_weight[jump])
            if found > score:
                best, score = (arc, jump), found
        return best, score


def _reachable(
    empty: Sequence[Sequence[tuple[int, float, Tag | None]]], node: int
) -> Iterator[tuple[int, float, tuple[Tag, ...]]]:
    """Every node that empty arcs lead to from ``node``, itself included, by the likeliest way, with its tags."""
    found: dict[int, tuple[float, tuple[Tag, ...]]] = {}
    waiting: list[tuple[int, float, tuple[Tag, ...]]] = [(node, 0.0, ())]
    while waiting:
        at, weight, tags = waiting.pop()
        if at in found and found[at][0] >= weight:
            continue
        found[at] = weight, tags
        waiting += [
            (target, weight + more, (*tags, tag) if tag else tags) for target, more, tag in empty[at]
        ]  # fmt: skip
    yield from ((at, weight, tags) for at, (weight, tags) in found.items())


def said(decoder: CommandDecoder, text: str) -> Command:
    """What a sentence in writing means, read as if it were heard without any doubt."""
    classes = decoder.alphabet.encode(text)
    marks = [BLANK] + [symbol for label in classes for symbol in (label, BLANK)]
    scores = np.full((len(marks), decoder.alphabet.classes), FLOOR, np.float32)
    scores[np.arange(len(marks)), marks] = 0.0
    return decoder.decode(scores)
