{
  "includes": ["native/common.gypi"],
  "targets": [
    {
      "target_name": "lowrank",
      "sources": ["<!@(node scripts/native-sources.mjs bindings)"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=9", "NAPI_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED", "NODE_ADDON_API_REQUIRE_BASIC_FINALIZERS=0"],
      "dependencies": ["lowrank_core"],
    },
    {
      # A library of its own, so that the native tests link what the addon is made of (CMakeLists.txt).
      "target_name": "lowrank_core",
      "type": "static_library",
      "sources": ["<!@(node scripts/native-sources.mjs core)"],
      # One static library for each instruction set: the command writes their targets from the table.
      "dependencies": ["<!(node scripts/instruction-set-files.mjs gyp build/instruction_sets):*"],
    },
  ],
}
