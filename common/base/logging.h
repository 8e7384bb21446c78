// Structured log lines on stderr: a constant message and key-values.
//
//   DASM_LOG(INFO, "lease granted").Kv("task", id).Kv("fence", fence);
//
// Prefixed because torch's headers define LOG and CHECK. Never once per step.
#ifndef DASM_COMMON_BASE_LOGGING_H_
#define DASM_COMMON_BASE_LOGGING_H_

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace dasm {

enum class LogSeverity { DEBUG, INFO, WARNING, ERROR };

// Lines below `severity` are dropped; default INFO. `program` heads each line.
void InitLogging(std::string_view program, LogSeverity severity);
bool ParseLogSeverity(std::string_view text, LogSeverity* severity);

// Writes one line when it goes out of scope.
class LogLine {
 public:
  LogLine(LogSeverity severity, std::string_view message);
  ~LogLine();
  LogLine(const LogLine&) = delete;
  LogLine& operator=(const LogLine&) = delete;

  template <typename T>
  LogLine&& Kv(std::string_view key, const T& value) && {
    Append(key, absl::StrCat(value));
    return std::move(*this);
  }

 private:
  void Append(std::string_view key, std::string_view value);

  const LogSeverity severity_;
  std::string text_;
};

// Ends the process on a broken invariant of ours, never on bad input.
[[noreturn]] void CheckFailed(const char* file, int line, const char* what);

}  // namespace dasm

#define DASM_LOG(severity, message) \
  ::dasm::LogLine(::dasm::LogSeverity::severity, message)
#define DASM_CHECK(condition) \
  ((condition) ? (void)0 : ::dasm::CheckFailed(__FILE__, __LINE__, #condition))

#endif  // DASM_COMMON_BASE_LOGGING_H_
