"""Removes from reports the dictionary entries that a stream already has.

Takes complete reports: their ids become those of the stream, and only entries that are new to the
stream stay in their dictionary.
"""

from __future__ import annotations

from itertools import accumulate

from gotax.wire.v1 import report_pb2 as wire

ENTRIES_MAX = 65_536
"""Of one kind; beyond that the dictionary is reset. It takes about 10 MB here."""
STRING_BYTES_MAX = 4 << 20

_CONTAINER_TEXTS = tuple(field.name for field in wire.Container.DESCRIPTOR.fields)


class SentDictionary:
    """The entries that were sent on one stream. Ids are those of the wire format: from 1."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._strings: dict[str, int] = {"": 0}
        self._string_bytes = 0
        self._functions: dict[tuple[int, int, int], int] = {}
        self._frames: dict[tuple[int, int, int], int] = {}
        self._categories: dict[tuple[str, str], int] = {}
        self._stacks: dict[tuple[int, int], int] = {}
        self._containers: dict[tuple[int, ...], int] = {}
        self._is_new = True

    @property
    def is_full(self) -> bool:
        tables = (self._frames, self._stacks, self._functions, self._strings, self._containers)
        entries = max(len(table) for table in tables)
        return entries > ENTRIES_MAX or self._string_bytes > STRING_BYTES_MAX

    def intern(self, whole: wire.Report) -> wire.Report:
        """Returns ``whole``, whose dictionary says reset, as a report for this stream; does not
        change it.

        All results must be sent in the order of the calls.
        """
        if self.is_full:
            self._forget()
        short = wire.Report(epoch=whole.epoch, sequence=whole.sequence)
        short.dictionary.reset, self._is_new = self._is_new, False
        short.window.CopyFrom(whole.window)
        self._intern_window(whole.dictionary, short)
        return short

    def _intern_window(self, old: wire.Dictionary, short: wire.Report) -> None:
        new, window = short.dictionary, short.window
        strings = [0, *(self._string(text, new) for text in old.strings)]
        stacks = self._intern_stacks(old, new, strings)
        categories = [0, *(self._category(category, new) for category in old.categories)]
        containers = [0, *(self._container(entry, new, strings) for entry in old.containers)]
        for loss in (*window.lost, *window.dropped):
            loss.reason = strings[loss.reason]
        for observation in (*window.containers, *window.others):
            observation.container = containers[observation.container]
            observation.category[:] = [categories[id] for id in observation.category]
            observation.gomaxprocs.reason = strings[observation.gomaxprocs.reason]
            for finding in observation.findings:
                finding.code = strings[finding.code]
                finding.cause = strings[finding.cause]
                finding.title = strings[finding.title]
                finding.remedy = strings[finding.remedy]
            _renumber_stacks(observation, stacks)

    def _intern_stacks(
        self, old: wire.Dictionary, new: wire.Dictionary, strings: list[int]
    ) -> list[int]:
        """The stream's id of each stack of ``old``."""
        count = len(old.function_name)
        files = old.function_file or [0] * count
        kinds = old.function_kind or [0] * count
        functions = [0]
        for name, file, kind in zip(old.function_name, files, kinds, strict=True):
            functions.append(self._function((strings[name], strings[file], kind), new))
        frames = [0]
        lines = old.frame_line or [0] * len(old.frame_parent)
        columns = zip(old.frame_parent, old.frame_function, lines, strict=True)
        for number, (distance, function, line) in enumerate(columns, 1):
            key = (frames[number - distance], functions[function], line)
            frames.append(self._frame(key, new))
        categories = [0, *(self._category(category, new) for category in old.categories)]
        stacks = [0]
        for frame, category in zip(old.stack_frame, old.stack_category, strict=True):
            stacks.append(self._stack((frames[frame], categories[category]), new))
        _drop_empty_columns(new)
        return stacks

    def _string(self, text: str, new: wire.Dictionary) -> int:
        known = self._strings.get(text)
        if known is None:
            known = self._strings[text] = len(self._strings)
            self._string_bytes += len(text)
            new.strings.append(text)
        return known

    def _function(self, key: tuple[int, int, int], new: wire.Dictionary) -> int:
        known = self._functions.get(key)
        if known is None:
            known = self._functions[key] = len(self._functions) + 1
            name, file, kind = key
            new.function_name.append(name)
            new.function_file.append(file)
            new.function_kind.append(kind)  # type: ignore[arg-type]  # as it came
        return known

    def _frame(self, key: tuple[int, int, int], new: wire.Dictionary) -> int:
        known = self._frames.get(key)
        if known is None:
            known = self._frames[key] = len(self._frames) + 1
            parent, function, line = key
            new.frame_parent.append(known - parent)
            new.frame_function.append(function)
            new.frame_line.append(line)
        return known

    def _category(self, category: wire.Category, new: wire.Dictionary) -> int:
        key = (category.label, category.group)
        known = self._categories.get(key)
        if known is None:
            known = self._categories[key] = len(self._categories) + 1
            new.categories.append(category)
        return known

    def _stack(self, key: tuple[int, int], new: wire.Dictionary) -> int:
        known = self._stacks.get(key)
        if known is None:
            known = self._stacks[key] = len(self._stacks) + 1
            new.stack_frame.append(key[0])
            new.stack_category.append(key[1])
        return known

    def _container(self, entry: wire.Container, new: wire.Dictionary, strings: list[int]) -> int:
        key = tuple(strings[getattr(entry, name)] for name in _CONTAINER_TEXTS)
        known = self._containers.get(key)
        if known is None:
            known = self._containers[key] = len(self._containers) + 1
            new.containers.add(**dict(zip(_CONTAINER_TEXTS, key, strict=True)))
        return known


def _renumber_stacks(observation: wire.Observation, stacks: list[int]) -> None:
    ids = [stacks[id] for id in accumulate(observation.stack)]
    order = sorted(range(len(ids)), key=ids.__getitem__)
    samples = list(observation.stack_samples)
    before, distances = 0, []
    for row in order:
        distances.append(ids[row] - before)
        before = ids[row]
    observation.stack[:] = distances
    observation.stack_samples[:] = [samples[row] for row in order]


def _drop_empty_columns(dictionary: wire.Dictionary) -> None:
    for name in ("function_file", "function_kind", "frame_line"):
        if not any(getattr(dictionary, name)):
            dictionary.ClearField(name)
