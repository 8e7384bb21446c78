#include "common/base/logging.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace dasm {
namespace {

spdlog::level::level_enum Level(LogSeverity severity) {
  switch (severity) {
    case LogSeverity::DEBUG:
      return spdlog::level::debug;
    case LogSeverity::INFO:
      return spdlog::level::info;
    case LogSeverity::WARNING:
      return spdlog::level::warn;
    case LogSeverity::ERROR:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

bool IsControl(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

spdlog::logger* Logger() {
  static spdlog::logger* logger = [] {
    auto* made = new spdlog::logger(
        "dasm", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%fZ %^%L%$ %v",
                      spdlog::pattern_time_type::utc);
    made->flush_on(spdlog::level::warn);
    return made;
  }();
  return logger;
}

}  // namespace

void InitLogging(std::string_view program, LogSeverity severity) {
  Logger()->set_level(Level(severity));
  Logger()->set_pattern(
      absl::StrCat("%Y-%m-%dT%H:%M:%S.%fZ %L ",
                   absl::string_view(program.data(), program.size()), " %v"),
      spdlog::pattern_time_type::utc);
}

bool ParseLogSeverity(std::string_view text, LogSeverity* severity) {
  if (text == "debug") {
    *severity = LogSeverity::DEBUG;
  } else if (text == "info") {
    *severity = LogSeverity::INFO;
  } else if (text == "warning") {
    *severity = LogSeverity::WARNING;
  } else if (text == "error") {
    *severity = LogSeverity::ERROR;
  } else {
    return false;
  }
  return true;
}

LogLine::LogLine(LogSeverity severity, std::string_view message)
    : severity_(severity), text_(message) {}

LogLine::~LogLine() { Logger()->log(Level(severity_), "{}", text_); }

void LogLine::Append(std::string_view key, std::string_view value) {
  text_.append(" ").append(key).append("=");
  const bool plain =
      !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
        return !IsControl(c) && c != ' ' && c != '"' && c != '=' && c != '\\';
      });
  if (plain) {
    text_.append(value);
    return;
  }
  // Values may come from users: none may end its line or drive a terminal.
  text_.push_back('"');
  for (char c : value) {
    if (c == '"' || c == '\\') text_.push_back('\\');
    if (c == '\n') {
      text_.append("\\n");
    } else if (IsControl(c)) {
      text_.append(absl::StrCat("\\x", absl::Hex(c, absl::kZeroPad2)));
    } else {
      text_.push_back(c);
    }
  }
  text_.push_back('"');
}

void CheckFailed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, what);
  std::abort();
}

}  // namespace dasm
