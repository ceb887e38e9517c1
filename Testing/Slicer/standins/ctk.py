"""The CTK widgets that a module's panel may use, on PySide6."""

from PySide6.QtCore import Property, QEvent, QSize, Qt, Signal
from PySide6.QtWidgets import (
    QAbstractButton,
    QMessageBox,
    QSizePolicy,
    QStyle,
    QStyleOptionButton,
    QStylePainter,
    QWidget,
)
from qt import WIDGETS


class ctkCollapsibleButton(QAbstractButton):
    contentsCollapsed = Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._collapsed, self._folded, self._header = False, [], self.fontMetrics().height() + 8
        self.setSizePolicy(QSizePolicy.Preferred, QSizePolicy.Preferred)
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(lambda checked: self.setCollapsed(not checked))
        self.setContentsMargins(0, self._header, 0, 0)

    def setCollapsed(self, collapsed):
        if collapsed != self._collapsed:
            self._collapsed = collapsed
            shown = [c for c in self.children() if isinstance(c, QWidget) and not c.isHidden()]
            self._folded = shown if collapsed else self._folded
            for child in self._folded:
                child.setVisible(not collapsed)
            self.setMaximumHeight(self._header if collapsed else (1 << 24) - 1)
            self.setChecked(not collapsed)
            self.contentsCollapsed.emit(collapsed)

    collapsed = Property(bool, lambda self: self._collapsed, setCollapsed)

    def childEvent(self, event):  # children that come after `collapsed` was set, as from a .ui file
        if event.type() == QEvent.ChildPolished and self._collapsed and event.child().isWidgetType():
            self._folded += [] if event.child().isHidden() else [event.child()]
            event.child().setVisible(False)
        super().childEvent(event)

    def sizeHint(self):
        inside = self.layout().totalSizeHint() if self.layout() and not self._collapsed else QSize(0, 0)
        return inside.expandedTo(QSize(self.fontMetrics().horizontalAdvance(self.text()) + 32, self._header))

    minimumSizeHint = sizeHint

    def paintEvent(self, event):
        painter, option = QStylePainter(self), QStyleOptionButton()
        option.initFrom(self)
        option.rect.setHeight(self._header)
        painter.drawControl(QStyle.CE_PushButtonBevel, option)
        painter.drawText(option.rect.adjusted(26, 0, 0, 0), Qt.AlignVCenter | Qt.AlignLeft, self.text())
        option.rect.setRect(6, 6, self._header - 12, self._header - 12)
        painter.drawPrimitive(getattr(QStyle, f"PE_IndicatorArrow{'Right' if self._collapsed else 'Down'}"), option)


ctkMessageBox, WIDGETS["ctkCollapsibleButton"] = QMessageBox, ctkCollapsibleButton


def __getattr__(name):
    if not name.startswith(("ctk", "q")):
        raise AttributeError(name)
    return globals().setdefault(name, type(name, (), {"__new__": None}))  # to compare with, not to instantiate
