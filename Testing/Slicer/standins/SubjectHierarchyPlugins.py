"""Stand-in for Slicer's package of this name."""

import slicer


class AbstractScriptedSubjectHierarchyPlugin:
    def __init__(self, plugin):
        self.scriptedPlugin = plugin
        slicer.qSlicerSubjectHierarchyPluginHandler.instance().registerPlugin(plugin)
