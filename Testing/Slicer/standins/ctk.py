"""The CTK widgets that a module's panel may use, on PySide6."""

from PySide6.QtCore import Property, QEvent, QSize, Qt, Signal
from PySide6.QtWidgets import (
    QAbstractButton, QCheckBox, QComboBox, QDoubleSpinBox, QHBoxLayout, QMessageBox, QSlider, QStyle, QStyleOptionButton,
    QStylePainter, QWidget,
)  # fmt: skip
from qt import WIDGETS

QWIDGETSIZE_MAX = (1 << 24) - 1


class ctkCollapsibleButton(QAbstractButton):
    """A header that folds its children away; `checked` is the opposite of `collapsed`."""

    contentsCollapsed = Signal(object)

    def __init__(self, *args):
        super().__init__(*[a for a in args if not isinstance(a, str)])
        self._collapsed, self._folded = False, []
        self.setText(next((a for a in args if isinstance(a, str)), ""))
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(lambda checked: self.setCollapsed(not checked))
        self.setContentsMargins(0, self.header(), 0, 0)

    def header(self):
        return self.fontMetrics().height() + 8

    def isCollapsed(self):
        return self._collapsed

    def setCollapsed(self, collapsed):
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        for child in [c for c in self.children() if isinstance(c, QWidget)] if collapsed else self._folded:
            if collapsed and not child.isHidden():
                self._folded.append(child)
            child.setVisible(not collapsed and child in self._folded)
        if not collapsed:
            self._folded = []
        self.setMaximumHeight(self.header() if collapsed else QWIDGETSIZE_MAX)
        self.setChecked(not collapsed)
        self.updateGeometry()
        self.contentsCollapsed.emit(collapsed)

    collapsed = Property(bool, isCollapsed, setCollapsed)

    def childEvent(self, event):
        if event.type() == QEvent.ChildPolished and self._collapsed and event.child().isWidgetType():
            if not event.child().isHidden():
                self._folded.append(event.child())
            event.child().setVisible(False)
        super().childEvent(event)

    def sizeHint(self):
        inside = self.layout().totalSizeHint() if self.layout() and not self._collapsed else QSize(0, 0)
        width = self.fontMetrics().horizontalAdvance(self.text()) + 32
        return QSize(max(width, inside.width()), max(self.header(), inside.height()))

    minimumSizeHint = sizeHint

    def paintEvent(self, event):
        painter, option = QStylePainter(self), QStyleOptionButton()
        option.initFrom(self)
        option.rect.setHeight(self.header())
        option.state |= QStyle.State_Sunken if self.isDown() else QStyle.State_Raised
        painter.drawControl(QStyle.CE_PushButtonBevel, option)
        arrow = QStyleOptionButton()
        arrow.initFrom(self)
        arrow.rect = option.rect.adjusted(6, 6, 0, -6)
        arrow.rect.setWidth(arrow.rect.height())
        painter.drawPrimitive(QStyle.PE_IndicatorArrowRight if self._collapsed else QStyle.PE_IndicatorArrowDown, arrow)
        painter.drawText(option.rect.adjusted(26, 0, 0, 0), Qt.AlignVCenter | Qt.AlignLeft, self.text())


class ctkComboBox(QComboBox):
    """A combo box that shows `defaultText` while nothing is chosen."""

    defaultText = Property(str, QComboBox.placeholderText, QComboBox.setPlaceholderText)
    setDefaultText = QComboBox.setPlaceholderText


def _number(name, with_slider):
    """A widget around a QDoubleSpinBox, with or without a slider, and with its properties."""

    def init(self, parent=None):
        QWidget.__init__(self, parent)
        self._box, row = QDoubleSpinBox(self), QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        if with_slider:
            slider = QSlider(Qt.Horizontal, self)
            slider.setRange(0, 1000)
            slider.sliderMoved.connect(
                lambda at: self._box.setValue(self.minimum + at / 1000 * (self.maximum - self.minimum))
            )
            self._box.valueChanged.connect(
                lambda v: slider.setValue(round(1000 * (v - self.minimum) / ((self.maximum - self.minimum) or 1)))
            )
            row.addWidget(slider)
        row.addWidget(self._box)
        self.setFocusProxy(self._box)
        self._box.valueChanged.connect(self.valueChanged.emit)

    body = {"__init__": init, "__module__": __name__, "valueChanged": Signal(float)}
    kinds = {"decimals": int, "suffix": str, "prefix": str}
    for prop in ("value", "minimum", "maximum", "singleStep", *kinds):
        setter = f"set{prop[0].upper()}{prop[1:]}"
        body[setter] = lambda self, value, setter=setter: getattr(self._box, setter)(value)
        body[prop] = Property(
            kinds.get(prop, float), lambda self, prop=prop: getattr(self._box, prop)(), body[setter]
        )
    return type(QWidget)(name, (QWidget,), body)


ctkDoubleSpinBox = _number("ctkDoubleSpinBox", with_slider=False)
ctkSliderWidget = _number("ctkSliderWidget", with_slider=True)


class ctkCheckBox(QCheckBox):
    """A check box."""


class ctkMessageBox(QMessageBox):
    """A message box."""


WIDGETS.update({
    made.__name__: made
    for made in (ctkCollapsibleButton, ctkComboBox, ctkDoubleSpinBox, ctkSliderWidget, ctkCheckBox)
})  # fmt: skip


def absent(name):
    """A class to ask `type(widget) is` for, of which there can be no instance here."""

    def refuse(self, *_):
        raise NotImplementedError(f"no stand-in for {name}; write one before a module uses it")

    return type(name, (), {"__init__": refuse})


def __getattr__(name):
    if not name.startswith("ctk"):
        raise AttributeError(name)
    globals()[name] = absent(name)
    return globals()[name]
