"""`slicer.app` as the desktop has it: a Qt application that knows the scene, the settings and the layout."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets

from headless_slicer.application import Host
from slicer_host import event_loop
from slicer_host.io_manager import CoreIOManager
from slicer_host.module_manager import ModuleManager
from slicer_host.scriptable import stand_in

VERSION = (5, 11)


@stand_in("qSlicerApplication")
class SlicerApplication(QtWidgets.QApplication):
    """What modules ask the application for.

    Args:
        host: Whose scene and views it has.
        settings_folder: Where its settings are kept.
    """

    startupCompleted = QtCore.Signal()
    majorVersion, minorVersion = VERSION
    slicerUserSettingsFilePath = temporaryPath = defaultScenePath = ""

    def __init__(self, host: Host, settings_folder: str) -> None:
        super().__init__(["slicer_host"])
        self.setOrganizationName("slicer_host")
        self.setApplicationName("Slicer")
        self.setApplicationVersion("{}.{}".format(*VERSION))
        self.setStyle("Fusion")
        self._host = host
        self.slicerUserSettingsFilePath = path = f"{settings_folder}/Slicer.ini"
        self._settings = QtCore.QSettings(path, QtCore.QSettings.IniFormat)
        self._modules = ModuleManager()
        self._io = CoreIOManager(host.scene)
        self.temporaryPath = host.application_logic.GetTemporaryPath()
        self.defaultScenePath = self.temporaryPath  # Slicer's is the folder of the user's documents

    def applicationLogic(self) -> object:
        return self._host.application_logic

    def mrmlScene(self) -> object:
        return self._host.scene

    def layoutManager(self) -> object:
        return self._host.layout.manager

    def coreIOManager(self) -> CoreIOManager:
        return self._io

    ioManager = coreIOManager

    def moduleManager(self) -> ModuleManager:
        return self._modules

    def userSettings(self) -> QtCore.QSettings:
        return self._settings

    settings = userSettings

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        return QtCore.QProcessEnvironment.systemEnvironment()

    def processEvents(self, *_flags: object) -> None:
        event_loop.process_events()

    def testingEnabled(self) -> bool:
        """Return False: boxes come up, and the test answers them."""
        return False

    def pauseRender(self) -> None:
        """Nothing: a view draws itself only when its picture is wanted."""

    resumeRender = pauseRender
