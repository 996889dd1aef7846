// A minimal self-registering test harness: the native tests need a C++ compiler and nothing else.
#pragma once

#include <cmath>
#include <cstdio>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "core/error.h"

namespace lowrank::test {

struct Case {
  const char* name;
  void (*body)();
};
inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
inline int& failures_in_case() {
  static int count = 0;
  return count;
}
// Why the running case ended without its checks; empty where it did not.
inline std::string& skip_reason() {
  static std::string reason;
  return reason;
}
struct Register {
  Register(const char* name, void (*body)()) { cases().push_back({name, body}); }
};
inline void fail(const char* file, int line, const std::string& what) {
  if (++failures_in_case() <= 10) std::fprintf(stderr, "    %s:%d: %s\n", file, line, what.c_str());
}
template <class T>
std::string shown(const T& value) {
  if constexpr (requires(std::ostream& o) { o << value; }) {
    std::ostringstream out;
    out << value;
    return out.str();
  } else {
    return "(value)";
  }
}

}  // namespace lowrank::test

#define LOWRANK_JOIN2(a, b) a##b
#define LOWRANK_JOIN(a, b) LOWRANK_JOIN2(a, b)
#define LOWRANK_TEST(name, id)                                                      \
  static void LOWRANK_JOIN(test_body_, id)();                                       \
  static const ::lowrank::test::Register LOWRANK_JOIN(test_register_, id){          \
      name, LOWRANK_JOIN(test_body_, id)};                                          \
  static void LOWRANK_JOIN(test_body_, id)()
#define TEST(name) LOWRANK_TEST(name, __COUNTER__)

// Ends a case that this machine cannot run. It is counted and printed with the reason.
#define SKIP(reason)                           \
  do {                                         \
    ::lowrank::test::skip_reason() = (reason); \
    return;                                    \
  } while (0)
#define CHECK(condition)                                                      \
  do {                                                                        \
    if (!(condition)) ::lowrank::test::fail(__FILE__, __LINE__, #condition);  \
  } while (0)
#define CHECK_EQ(a, b)                                                                          \
  do {                                                                                          \
    const auto check_a = (a);                                                                   \
    const auto check_b = (b);                                                                   \
    if (!(check_a == check_b))                                                                  \
      ::lowrank::test::fail(__FILE__, __LINE__,                                                 \
                            std::string(#a " == " #b ": ") + ::lowrank::test::shown(check_a) +  \
                                " against " + ::lowrank::test::shown(check_b));                 \
  } while (0)
#define CHECK_NEAR(a, b, tolerance)                                                                   \
  do {                                                                                                \
    const double check_a = static_cast<double>(a);                                                    \
    const double check_b = static_cast<double>(b);                                                    \
    if (!(std::fabs(check_a - check_b) <= static_cast<double>(tolerance)))                            \
      ::lowrank::test::fail(__FILE__, __LINE__,                                                       \
                            std::string(#a " near " #b ": ") + ::lowrank::test::shown(check_a) +      \
                                " against " + ::lowrank::test::shown(check_b));                       \
  } while (0)
#define CHECK_THROWS_CODE(expression, expected_code)                                                      \
  do {                                                                                                    \
    bool check_thrown = false;                                                                            \
    try {                                                                                                 \
      (void)(expression);                                                                                 \
    } catch (const ::lowrank::Error& check_error) {                                                       \
      check_thrown = true;                                                                                \
      if (check_error.code() != (expected_code))                                                          \
        ::lowrank::test::fail(__FILE__, __LINE__,                                                         \
                              std::string(#expression " threw ") +                                        \
                                  ::lowrank::error_code_name(check_error.code()) + ": " +                 \
                                  check_error.what());                                                    \
    }                                                                                                     \
    if (!check_thrown) ::lowrank::test::fail(__FILE__, __LINE__, #expression " did not throw");           \
  } while (0)
