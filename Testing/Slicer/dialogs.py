"""Answers to modal dialogs."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QAbstractButton, QApplication, QDialog, QMessageBox


class Dialogs:
    """Answers every modal dialog: the next of `answers`, by button text or role.

    A dialog that no answer was prepared for is rejected, and the test fails.
    """

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.texts: list[str] = []
        self.unexpected: list[str] = []

    def answer(self, *answers: Any) -> None:
        """Answer the next dialogs so: "OK", "Cancel", "Yes"…."""
        self.answers += answers

    def look(self) -> None:
        """Answer the dialog that is open, if one is."""
        dialog = QApplication.activeModalWidget()
        if dialog is None:
            return
        text = dialog.text() if isinstance(dialog, QMessageBox) else dialog.windowTitle()
        self.texts.append("\n".join([text, dialog.detailedText()]) if isinstance(dialog, QMessageBox) else text)
        if not self.answers:
            self.unexpected.append(self.texts[-1])
            dialog.reject() if isinstance(dialog, QDialog) else dialog.close()
            return
        answer = self.answers.pop(0)
        buttons = {button.text().replace("&", ""): button for button in dialog.findChildren(QAbstractButton)}
        assert answer in buttons, f"'{text}' has the buttons {sorted(buttons)}, not '{answer}'"
        buttons[answer].click()
