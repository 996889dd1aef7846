// Opens a device plugin: a shared library beside the addon that need not be there.
#pragma once

#include <string>

#include "device/plugin.h"

namespace lowrank::device {

// The table of the plugin at `path`, loaded once and never unloaded. Throws Error(kBackendUnavailable); its message is a clause
// that says what is wrong: no such file, not a library, not a plugin, one of another version, a system that has none.
const PluginTable& load_plugin(const std::string& path);

// Where a plugin is looked for: what LOWRANK_CUDA_PLUGIN names and nothing else; or `found`, what the package's own search
// gave; or the addon's folder. Empty where there is none, and `why` then says so.
std::string plugin_path(const std::string& found, std::string& why);

}  // namespace lowrank::device
