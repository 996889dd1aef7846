{
  "variables": {
    "openssl_fips": "",
    "common_cflags": ["-std=c++20", "-O3", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wextra"],
    "defines_x64": ["LOWRANK_HAVE_X86_64"],
    "avx2_flags": ["-mavx2", "-mfma", "-mf16c", "-mprfchw"],
    "avx_vnni_flags": ["<@(avx2_flags)", "-mavxvnni"],
    "avx512vl_vnni_flags": ["<@(avx2_flags)", "-mavx512f", "-mavx512vl", "-mavx512vnni", "-mprefer-vector-width=256"],
    "avx512_vnni_flags": ["<@(avx2_flags)", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mavx512bf16"],
  },
  "target_defaults": {
    "include_dirs": ["native", "<!(node -p \"require('node-addon-api').include_dir\")"],
    "defines": ["NAPI_VERSION=9", "NAPI_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED", "NODE_ADDON_API_REQUIRE_BASIC_FINALIZERS=0"],
    "cflags!": ["-fno-exceptions", "-O2"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20", "-O2"],
    "cflags_cc": ["<@(common_cflags)"],
    "xcode_settings": {
      "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
      "GCC_ENABLE_CPP_RTTI": "YES",
      "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
      "GCC_OPTIMIZATION_LEVEL": "3",
      "OTHER_CPLUSPLUSFLAGS": ["-ffp-contract=off"],
      "MACOSX_DEPLOYMENT_TARGET": "11.0",
    },
    "conditions": [["target_arch=='x64'", { "defines": ["<@(defines_x64)"] }]],
  },
  "targets": [
    {
      "target_name": "lowrank_avx2",
      "type": "static_library",
      "conditions": [
        ["target_arch=='x64'", {
          "sources": ["<!@(node scripts/native-sources.mjs avx2)"],
          "cflags_cc": ["<@(avx2_flags)"],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["<@(avx2_flags)"] },
        }, { "type": "none" }],
      ],
    },
    {
      "target_name": "lowrank_avx_vnni",
      "type": "static_library",
      "conditions": [
        ["target_arch=='x64'", {
          "sources": ["<!@(node scripts/native-sources.mjs avx_vnni)"],
          "cflags_cc": ["<@(avx_vnni_flags)"],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["<@(avx_vnni_flags)"] },
        }, { "type": "none" }],
      ],
    },
    {
      "target_name": "lowrank_avx512vl_vnni",
      "type": "static_library",
      "conditions": [
        ["target_arch=='x64'", {
          "sources": ["<!@(node scripts/native-sources.mjs avx512vl_vnni)"],
          "cflags_cc": ["<@(avx512vl_vnni_flags)"],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["<@(avx512vl_vnni_flags)"] },
        }, { "type": "none" }],
      ],
    },
    {
      "target_name": "lowrank_avx512_vnni",
      "type": "static_library",
      "conditions": [
        ["target_arch=='x64'", {
          "sources": ["<!@(node scripts/native-sources.mjs avx512_vnni)"],
          "cflags_cc": ["<@(avx512_vnni_flags)"],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["<@(avx512_vnni_flags)"] },
        }, { "type": "none" }],
      ],
    },
    {
      "target_name": "lowrank",
      "sources": ["<!@(node scripts/native-sources.mjs core)", "<!@(node scripts/native-sources.mjs bindings)"],
      "dependencies": ["lowrank_avx2", "lowrank_avx_vnni", "lowrank_avx512vl_vnni", "lowrank_avx512_vnni"],
    },
  ],
}
