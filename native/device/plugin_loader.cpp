#include "device/plugin_loader.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>

#include "core/error.h"
#include "device/op_params.h"

#if defined(__linux__)
#include <dlfcn.h>
#endif

namespace lowrank::device {
namespace {

constexpr const char* kFileName = "liblowrank_cuda.so";

[[noreturn]] void refuse(const std::string& path, const std::string& what) {
  throw Error(ErrorCode::kBackendUnavailable, "the CUDA plugin " + path + " " + what);
}

#if defined(__linux__)

constexpr const char* kRemedy = " (install lowrank-cuda in the version of lowrank, or run npm run cuda:build)";

void check_table(const std::string& path, const PluginTable* table) {
  if (table == nullptr || table->version != kPluginVersion || table->table_bytes != sizeof(PluginTable))
    refuse(path, "has interface " + std::to_string(table == nullptr ? 0 : table->version) + ", and interface " +
                     std::to_string(kPluginVersion) + " is needed" + kRemedy);
  for (uint32_t i = 0; i < kOpCodes; ++i)
    if (table->op_params_bytes[i] != kOpParamsBytes[i])
      refuse(path, std::string("was built from other sources: the parameters of the op ") + kOpNames[i] + " have " +
                       std::to_string(table->op_params_bytes[i]) + " bytes there, and " + std::to_string(kOpParamsBytes[i]) +
                       " here" + kRemedy);
}

const PluginTable& open_library(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) refuse(path, "does not load: " + std::string(dlerror()));
  using Entry = const PluginTable* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(library, kPluginEntry));
  if (entry == nullptr) {
    dlclose(library);
    refuse(path, "is none of lowrank: it has no " + std::string(kPluginEntry));
  }
  const PluginTable* table = entry();
  check_table(path, table);
  return *table;
}

// The folder of the library or program that this code is part of.
std::filesystem::path own_folder() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&load_plugin), &info) == 0 || info.dli_fname == nullptr) return {};
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::absolute(info.dli_fname, error);
  return error ? std::filesystem::path() : whole.parent_path();
}

#endif

}  // namespace

#if defined(__linux__)

const PluginTable& load_plugin(const std::string& path) {
  static std::mutex mutex;
  static std::map<std::string, const PluginTable*>& loaded = *new std::map<std::string, const PluginTable*>;
  const std::lock_guard<std::mutex> lock(mutex);
  const PluginTable*& table = loaded[path];
  if (table == nullptr) table = &open_library(path);
  return *table;
}

std::string plugin_path(const std::string& found, std::string& why) {
  const char* named = std::getenv("LOWRANK_CUDA_PLUGIN");
  if (named != nullptr && *named != '\0') return named;
  if (!found.empty()) return found;
  const std::filesystem::path beside = own_folder() / kFileName;
  std::error_code error;
  if (std::filesystem::exists(beside, error)) return beside.string();
  why = "no CUDA plugin is installed" + std::string(kRemedy);
  return "";
}

#else

const PluginTable& load_plugin(const std::string& path) { refuse(path, "needs Linux"); }

std::string plugin_path(const std::string&, std::string& why) {
  why = "the CUDA plugin needs Linux";
  return "";
}

#endif

}  // namespace lowrank::device
