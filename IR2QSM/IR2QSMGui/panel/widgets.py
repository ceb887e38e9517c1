"""Qt helpers of the sections: notes, selectors and lists to tick."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import qt

PROBLEM_STYLE = "color: #C62828;"


def show_note(label: qt.QLabel, text: str, is_problem: bool = False) -> None:
    """Show a sentence, in red where it is a problem; hide the label where there is none."""
    label.setText(text)
    label.setStyleSheet(PROBLEM_STYLE if is_problem else "")
    label.setVisible(bool(text))


def fill_selector(selector: qt.QComboBox, items: Iterable[tuple[Any, str]], chosen: Any) -> None:
    """Set a selector's items, pairs of data and text, and choose one of them, without a signal."""
    selector.blockSignals(True)
    selector.clear()
    for data, text in items:
        selector.addItem(text, data)
    selector.blockSignals(False)
    choose_item(selector, chosen)


def choose_item(selector: qt.QComboBox, data: Any) -> None:
    """Choose the item with that data, or the first, without a signal."""
    selector.blockSignals(True)
    selector.setCurrentIndex(max(0, selector.findData(data)))
    selector.blockSignals(False)


class TickList:
    """A list widget whose items can be ticked.

    Parameters
    ----------
    widget
        A QListWidget.
    on_ticked
        Called with the data of the items that are ticked, when a person ticks others.
    """

    def __init__(self, widget: qt.QListWidget, on_ticked: Callable[[list], None]) -> None:
        self._widget, self._on_ticked = widget, on_ticked
        self._items: list[tuple[Any, str, str]] | None = None
        self._ticked: list = []
        widget.itemChanged.connect(self._item_changed)

    def show(self, items: list[tuple[Any, str, str]], ticked: Iterable) -> None:
        """List items (data, text, tool tip) and tick those with these data, without a call."""
        ticked = list(ticked)
        if (items, ticked) == (self._items, self._ticked):  # so that no item is deleted while it is clicked
            return
        self._items, self._ticked = items, ticked
        widget = self._widget
        widget.blockSignals(True)
        widget.clear()
        for row, (data, text, tip) in enumerate(items):
            widget.addItem(text)
            item = widget.item(row)
            item.setData(qt.Qt.UserRole, data)
            item.setToolTip(tip)
            item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled)
            item.setCheckState(qt.Qt.Checked if data in ticked else qt.Qt.Unchecked)
        widget.blockSignals(False)

    def _item_changed(self, *_args: Any) -> None:
        items = [self._widget.item(row) for row in range(self._widget.property("count"))]
        self._ticked = [item.data(qt.Qt.UserRole) for item in items if item.checkState() == qt.Qt.Checked]
        self._on_ticked(self._ticked)
