#include "device/plugin_loader.h"

#include <cstdlib>
#include <optional>
#include <string>

#include "check.h"
#include "device_under_test.h"
#include "formats/temporary_folder.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

std::string message_of(const std::string& path) {
  try {
    device::load_plugin(path);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kBackendUnavailable);
    return error.what();
  }
  CHECK(!"refused");
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Sets LOWRANK_CUDA_PLUGIN, or unsets it, and puts it back at the end.
class NamedPlugin {
 public:
  explicit NamedPlugin(const char* path) {
    if (const char* before = std::getenv(kName)) before_ = before;
    set(path);
  }
  ~NamedPlugin() { set(before_ ? before_->c_str() : nullptr); }

 private:
  static constexpr const char* kName = "LOWRANK_CUDA_PLUGIN";
  static void set(const char* path) { path == nullptr ? unsetenv(kName) : setenv(kName, path, 1); }
  std::optional<std::string> before_;
};

}  // namespace

TEST("device/plugin_loader: a file that is not there") {
  const std::string message = message_of("/nowhere/liblowrank_cuda.so");
  CHECK(contains(message, "/nowhere/liblowrank_cuda.so"));
  CHECK(contains(message, "does not load"));
  CHECK(contains(message, "No such file"));
}

TEST("device/plugin_loader: a file that is no library, and one that ends early") {
  const TemporaryFolder folder;
  CHECK(contains(message_of(folder.write("text.so", "this is no library")), "does not load"));
  CHECK(contains(message_of(folder.write("short.so", "\x7f" "ELF")), "does not load"));
}

TEST("device/plugin_loader: a library that is no plugin") {
  CHECK(contains(message_of(LOWRANK_EMULATOR_LIBRARY), "has no lowrank_cuda_plugin"));
}

TEST("device/plugin_loader: a plugin of another interface, and one of other sources") {
  const std::string version = message_of(LOWRANK_OTHER_VERSION);
  CHECK(contains(version, "has interface " + std::to_string(device::kPluginVersion + 1)));
  CHECK(contains(version, "npm run cuda:build"));
  CHECK(contains(message_of(LOWRANK_OTHER_SOURCES), "was built from other sources"));
}

TEST("device/plugin_loader: one table a file") {
  const std::string path = plugin_under_test();
  CHECK(&device::load_plugin(path) == &device::load_plugin(path));
}

TEST("device/plugin_loader: LOWRANK_CUDA_PLUGIN comes first, then what the package found; without both it says so") {
  std::string why;
  {
    const NamedPlugin named("/named.so");
    CHECK_EQ(device::plugin_path("/found.so", why), std::string("/named.so"));
  }
  const NamedPlugin none(nullptr);
  CHECK_EQ(device::plugin_path("/found.so", why), std::string("/found.so"));
  CHECK(why.empty());
  CHECK_EQ(device::plugin_path("", why), std::string(""));
  CHECK(contains(why, "no CUDA plugin is installed"));
}
