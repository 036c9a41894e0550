"""`slicer.app` as the desktop has it: a Qt application that knows the scene, the settings and the layout."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets

from slicer_host import event_loop
from slicer_host.io_manager import CoreIOManager
from slicer_host.module_manager import ModuleManager
from slicer_host.pythonqt import connectable
from uncertaintyseg.viewer.application import Host

VERSION = (5, 11)


@connectable
class SlicerApplication(QtWidgets.QApplication):
    """qSlicerApplication, as far as modules ask for it."""

    startupCompleted = QtCore.Signal()

    def __init__(self, settings_folder: str) -> None:
        super().__init__(["slicer_host"])
        self.setOrganizationName("slicer_host")
        self.setApplicationName("Slicer")
        self.setApplicationVersion("{}.{}".format(*VERSION))
        self.setStyle("Fusion")
        self.slicerUserSettingsFilePath = path = f"{settings_folder}/Slicer.ini"
        self._settings = QtCore.QSettings(path, QtCore.QSettings.IniFormat)
        self._modules = ModuleManager()
        self.majorVersion, self.minorVersion = VERSION

    def set_host(self, host: Host) -> None:
        """Say which scene and views the application has."""
        self._host = host
        self._io = CoreIOManager(host.scene)
        self.temporaryPath = host.application_logic.GetTemporaryPath()
        self.defaultScenePath = self.temporaryPath  # Slicer's is the folder of the user's documents

    def applicationLogic(self) -> object:
        return self._host.application_logic

    def mrmlScene(self) -> object:
        return self._host.scene

    def layoutManager(self) -> object:
        return self._host.layout

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
